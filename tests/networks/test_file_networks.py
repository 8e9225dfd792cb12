"""Networks from files of the user: ONNX and Keras, their messages, and a run with one."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from onnx import TensorProto, external_data_helper, load, save

from fer_ray.errors import UserError
from fer_ray.models.bundles.backbone_features import load_backbones, require_weights
from fer_ray.models.bundles.bundle import read_bundle
from fer_ray.networks.describe_network import describe_network
from fer_ray.networks.network import Backbone
from fer_ray.networks.network_arrays import pool_output, prepare_input
from fer_ray.pipelines.audit.occlusion_maps import occlusion_map
from fer_ray.settings.network_interface import NetworkInterface
from tests.conftest import run_in_process
from tests.networks.file_networks import SIDE, WIDTH, reference_output, write_onnx

PLAIN = NetworkInterface()
NORMALISED = NetworkInterface(colours="bgr", mean=(100, 110, 120), std=(50, 60, 70))


@pytest.mark.parametrize(
    ("output", "options"),
    [("logits", {}), ("maps", {}), ("maps", {"channels": 1}), ("logits", {"channels_last": True})],
)
def test_onnx_equals_the_reference_implementation(
    tmp_path: Path, crops: np.ndarray, output: str, options: dict[str, Any]
) -> None:
    file = write_onnx(tmp_path / "mine.onnx", (output,), **options)
    interface = PLAIN if options.get("channels") == 1 else NORMALISED
    spec = describe_network("mine", str(file), interface)
    network = spec.file_network
    assert network is not None
    expected = reference_output(file, prepare_input(crops, network), output)
    features = Backbone(spec, file)(crops)
    np.testing.assert_allclose(
        features, pool_output(expected, network, maps=False), rtol=1e-4, atol=1e-4
    )
    if output == "maps":
        maps = Backbone(spec, file, maps=True)(crops)
        assert maps.shape == (len(crops), SIDE // 2 * SIDE // 2 * WIDTH)
        np.testing.assert_allclose(
            maps.reshape(len(crops), -1, WIDTH).mean(axis=1), features, rtol=1e-4
        )


def test_normalisation_is_in_the_order_of_the_channels(crops: np.ndarray, tmp_path: Path) -> None:
    file = write_onnx(tmp_path / "mine.onnx")
    network = describe_network("mine", str(file), NORMALISED).file_network
    assert network is not None
    pixels = prepare_input(np.full((1, SIDE, SIDE), 200, np.uint8), network)
    assert pixels.shape == (1, 3, SIDE, SIDE)
    np.testing.assert_allclose(pixels[0, :, 0, 0], [80 / 70, 90 / 60, 100 / 50])  # blue first


def test_features_do_not_depend_on_other_images(crops: np.ndarray, tmp_path: Path) -> None:
    file = write_onnx(tmp_path / "mine.onnx", ("maps",))
    network = Backbone(describe_network("mine", str(file), NORMALISED), file)
    alone = np.concatenate([network(crop[None]) for crop in crops])
    assert np.array_equal(network(crops), alone)
    assert np.array_equal(network(crops[::-1])[::-1], alone)


@pytest.mark.parametrize("channels_last", [False, True])
def test_output_can_be_a_layer(crops: np.ndarray, tmp_path: Path, channels_last: bool) -> None:
    file = write_onnx(tmp_path / "mine.onnx", channels_last=channels_last)
    spec = describe_network("mine", str(file), NetworkInterface(output="relu"))
    assert (spec.width, spec.map_shape) == (WIDTH, (SIDE // 2, SIDE // 2))
    maps = write_onnx(tmp_path / "maps.onnx", ("maps",))
    expected = Backbone(describe_network("maps", str(maps), PLAIN), maps)(crops)
    np.testing.assert_allclose(Backbone(spec, file)(crops), expected, rtol=1e-5)


def without_file(folder: Path) -> Path:
    return folder / "none.onnx"


def with_text(folder: Path) -> Path:
    (folder / "text.onnx").write_text("this is no network\n" * 10)
    return folder / "text.onnx"


def with_external_weights(folder: Path) -> Path:
    model = load(write_onnx(folder / "own.onnx"))
    external_data_helper.convert_model_to_external_data(
        model, location="own.data", size_threshold=0
    )
    save(model, folder / "own.onnx")
    assert model.graph.initializer[0].data_location == TensorProto.EXTERNAL
    return folder / "own.onnx"


def written(**options: Any) -> Callable[[Path], Path]:
    return lambda folder: write_onnx(folder / "own.onnx", **options)


@pytest.mark.parametrize(
    ("make", "interface", "message"),
    [
        (without_file, {}, "none.onnx does not exist. Correct the path in mine=FILE"),
        (with_text, {}, "text.onnx is not an ONNX file"),
        (with_external_weights, {}, "stores its weights in other files"),
        (lambda folder: Path(__file__), {}, "ends in .onnx, .keras, .h5, .hdf5"),
        (written(), {"input_px": 48}, "has 32×32 pixels, not 48×48. Omit --input-px"),
        (written(side="side"), {}, "accepts images of any size. Pass the side as --input-px"),
        (written(channels=5), {}, "has the shape \\?×5×32×32"),
        (
            written(channels=1),
            {"colours": "bgr"},
            "has 1 channels, which do not match --colours bgr",
        ),
        (written(inputs=("image", "mask")), {}, "has 2 inputs \\(image, mask\\)"),
        (written(outputs=("logits", "maps")), {}, "has 2 outputs. Choose one as --output: logits"),
        (written(), {"output": "pool5"}, "has no output or layer pool5. Choose one .*: logits"),
        (written(side="side"), {"input_px": 48}, "OpenCV .* cannot run the network"),
    ],
)
def test_unsuitable_file_is_refused(
    tmp_path: Path, make: Callable[[Path], Path], interface: dict[str, Any], message: str
) -> None:
    with pytest.raises(UserError, match=message):
        describe_network("mine", str(make(tmp_path)), NetworkInterface(**interface))


def test_several_outputs_need_a_choice(tmp_path: Path) -> None:
    file = write_onnx(tmp_path / "mine.onnx", ("logits", "maps"))
    assert describe_network("mine", str(file), NetworkInterface(output="logits")).width == 4
    assert describe_network("mine", str(file), NetworkInterface(output="maps")).width == WIDTH


@pytest.mark.slow
@pytest.mark.thorough
@pytest.mark.parametrize("suffix", [".keras", ".h5"])
def test_keras_model(tmp_path: Path, crops: np.ndarray, suffix: str) -> None:
    from fer_ray.networks.keras_backend import load_keras

    keras = load_keras(threads=1)
    keras.utils.set_random_seed(1)
    layers = keras.layers
    model = keras.Sequential(
        [
            keras.Input((SIDE, SIDE, 3)),
            layers.Conv2D(WIDTH, 3, strides=2, name="features"),
            layers.GlobalAveragePooling2D(),
            layers.Dense(4),
        ]
    )
    file = tmp_path / f"mine{suffix}"
    model.save(file)
    spec = describe_network("mine", str(file), NORMALISED)
    assert (spec.width, spec.needs_keras) == (4, True)
    assert spec.file_network is not None
    expected = np.asarray(model(prepare_input(crops, spec.file_network)))
    np.testing.assert_allclose(Backbone(spec, file, threads=1)(crops), expected, rtol=1e-4)
    inner = describe_network("mine", str(file), NetworkInterface(output="features"))
    assert (inner.width, inner.map_shape) == (WIDTH, (15, 15))
    with pytest.raises(UserError, match="has no output or layer pool5"):
        describe_network("mine", str(file), NetworkInterface(output="pool5"))
    model.save_weights(tmp_path / "only.weights.h5")
    with pytest.raises(UserError, match="as a complete model"):
        describe_network("mine", str(tmp_path / "only.weights.h5"), PLAIN)


OPTIONS = ("--mean", "127.5", "--std", "127.5")


def compute_features(corpus: Path, out: Path, file: Path) -> tuple[str, ...]:
    """Extract the corpus and compute features of a network; the command of the latter."""
    local = ("--set", "execution.executor=in-process", "--workers", "1")
    extract = ("extract", "--data", str(corpus), "--out", str(out), "--profile", "fast", *local)
    assert run_in_process(*extract).returncode == 0
    words = ("bottleneck", "--out", str(out), "--json", *local)
    return (*words, "--backbone", f"mine={file}", *OPTIONS)


@pytest.mark.slow
@pytest.mark.thorough
def test_head_on_own_network_has_an_occlusion_map(corpus: Path, tmp_path: Path) -> None:
    file, out = write_onnx(tmp_path / "mine.onnx", ("maps",)), tmp_path / "run"
    assert run_in_process(*compute_features(corpus, out, file)).returncode == 0
    heads = ("heads", "--out", str(out), "--backbone", "mine", "--trials", "1")
    done = run_in_process(*heads, "--set", "execution.executor=in-process")
    assert done.returncode == 0, done.stderr
    require_occlusion_map(out, "head-default-mine-random-n_trials=1", "network head")


@pytest.mark.thorough
@pytest.mark.slow
def test_own_network_from_features_to_bundle(corpus: Path, tmp_path: Path) -> None:
    file, out = write_onnx(tmp_path / "mine.onnx", ("maps",)), tmp_path / "run"
    words = compute_features(corpus, out, file)
    record = json.loads(run_in_process(*words).stdout)
    assert (record["numbers"], record["weights"]["origin"]) == (WIDTH, "file")
    assert record["preprocessing"] == "rgb, minus 127.5, divided by 127.5"
    assert json.loads(run_in_process(*words).stdout)["already_finished"]

    trials = ("--feature-set", "geometry+mine", "--scale", "equal", "--kernels", "linear")
    done = run_in_process("trials", "--out", str(out), *trials, "--trials", "2")
    assert done.returncode == 0, done.stderr
    name = "svm-linear-geometry+mine-random-n_trials=2-scale=equal"
    require_occlusion_map(out, name, "linear svm")
    model = tmp_path / "model"
    done = run_in_process("bundle", "--out", str(out), "--to", str(model), "--experiment", name)
    assert done.returncode == 0, done.stderr
    image = min(corpus.glob("cohn-kanade-images/*/*/*.png"))
    predict = ("predict", str(model), str(image), "--out", str(tmp_path / "out"))
    missing = run_in_process(*predict)
    assert missing.returncode == 2
    assert "Pass their file with --weights mine=FILE" in missing.stderr
    done = run_in_process(*predict, "--weights", f"mine={file}")
    assert done.returncode == 0, done.stderr
    assert pq.read_table(tmp_path / "out" / "predictions")["predicted"][0].as_py()

    bundle = read_bundle(model)
    backbone = load_backbones(bundle, (("mine", str(file)),))["mine"]
    assert backbone.spec.preprocessing == record["preprocessing"]
    write_onnx(file, ("maps",), seed=1)
    with pytest.raises(UserError, match="was trained with other weights of mine"):
        require_weights(bundle, (("mine", str(file)),))
    changed = run_in_process(*words)
    assert "has features of mine from the weights" in changed.stderr
    write_onnx(file, ("maps",))
    other = run_in_process(*words[:-1], "255")
    assert "divided by 127.5 (not 32 px, rgb, minus 127.5, divided by 255)" in other.stderr


def require_occlusion_map(out: Path, experiment: str, label: str) -> None:
    """Check that the report shows the map of a model, which is computed once."""
    assert "Pass their folder with --data" in str(occlusion_map(out, None))
    assert run_in_process("report", "--out", str(out)).returncode == 0
    file = out / "occlusion" / f"{experiment}.json"
    written = file.stat().st_mtime_ns
    record = json.loads(file.read_text())
    cells = np.array(list(record["drops"].values()))
    assert cells.shape == (len(record["drops"]), 6, 6)
    assert np.abs(cells).max() > 0.001  # the network sees the patches
    page = (out / "report" / "index.html").read_text()
    assert f"on average over {record['n_images']} test images" in page
    assert f"drops of the probability of a {label} on" in page.lower()
    assert run_in_process("report", "--out", str(out)).returncode == 0
    assert file.stat().st_mtime_ns == written


def test_misspelt_feature_set_is_refused(drawn_frames: Path) -> None:
    done = run_in_process("trials", "--out", str(drawn_frames), "--feature-set", "hogg")
    assert done.returncode == 2
    assert "hogg is not a feature set, and" in done.stderr
    done = run_in_process("bottleneck", "--out", str(drawn_frames), "--backbone", "vgg61")
    assert done.returncode == 2
    assert "vgg61 is not a backbone: specify one of vgg16" in done.stderr
