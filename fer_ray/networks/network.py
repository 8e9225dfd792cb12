"""Backbones in memory: face crops in, bottleneck features out."""

from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fer_ray.errors import UserError
from fer_ray.faces.landmarks import import_dlib
from fer_ray.networks.bottleneck.inference import (
    build_application,
    compile_forward,
    optimise_for_inference,
)
from fer_ray.networks.keras_backend import keras_defaults, load_keras
from fer_ray.networks.network_arrays import resize_crop
from fer_ray.networks.network_files import KerasNetwork, OnnxNetwork
from fer_ray.networks.weights import keras_named_link, wrong_weights_error
from fer_ray.settings.backbones import BackboneSpec, backbone_spec
from fer_ray.vocabulary import N_LANDMARKS

Crops = NDArray[np.uint8]
Features = NDArray[np.float32]

CHIP_PADDING = 0.25  # of dlib's face chips, on each side
GPU_BATCH_IMAGES = 64  # on a full GPU; VGG16 at 350 px then needs about 8 GiB


class Backbone:
    """A pretrained network without its top. Call it with crops to get their features.

    Attributes:
        spec: Its description, as in the table of backbones.
        batch_images: Crops per forward pass. Results depend on it only by the rounding of float32.

    Raises:
        UserError: The weights are not those of this backbone, or a library is not installed.

    Examples:
        ```python
        weights = find_weights(BACKBONES["vgg16"], None)
        backbone = Backbone("vgg16", weights.file)
        features = backbone(crops)  # (n, 350, 350) uint8 -> (n, 512) float32
        ```
    """

    def __init__(
        self,
        backbone: BackboneSpec | str,
        weights: Path | str,
        maps: bool = False,
        threads: int | None = None,
        gpu_share: float = 0,
        batch_images: int | None = None,
    ) -> None:
        """Load the network.

        Args:
            backbone: Its description, or its name in `BACKBONES`.
            weights: File of its weights, see `weights.find_weights`.
            maps: Return feature maps instead of pooled features.
            threads: CPUs that Keras may use. None: all.
            gpu_share: Share of a GPU that this process may use. 0: none.
            batch_images: Crops per forward pass. None: a default for the CPUs or the GPU.
        """
        self.spec = spec = backbone_spec(backbone)
        self.batch_images = batch_images or (
            max(1, round(GPU_BATCH_IMAGES * min(gpu_share, 1))) if gpu_share else spec.batch_images
        )
        self._numbers, self._file = spec.n_features(maps), Path(weights)
        self._network: Any
        if spec.application:
            self._network = _KerasApplication(
                spec, self._file, maps, threads, gpu_share, self.batch_images
            )
        elif spec.file_network is None:
            self._network = _DlibNetwork(spec, self._file)
        elif spec.needs_keras:
            self._network = KerasNetwork(self._file, spec.file_network, maps, threads, gpu_share)
        else:
            self._network = OnnxNetwork(self._file, spec.file_network, maps)

    def __call__(self, crops: Crops, landmarks_xy: NDArray[np.float32] | None = None) -> Features:
        """Compute the features of gray crops.

        Args:
            crops: (n, size, size) uint8.
            landmarks_xy: (n, 68, 2) in crop pixels. `dlib_resnet` aligns faces with them; other
                backbones ignore them.

        Returns:
            (n, width) float32, or for maps (n, rows · columns · channels), channels last.

        Raises:
            UserError: Some features are NaN or infinite.
        """
        step = self.batch_images
        parts = [
            self._network(crops[start : start + step], None if landmarks_xy is None
                          else landmarks_xy[start : start + step])
            for start in range(0, len(crops), step)
        ]  # fmt: skip
        features = np.concatenate(parts) if parts else np.zeros((0, self._numbers), np.float32)
        if features.shape != (len(crops), self._numbers):
            raise RuntimeError(f"{self.spec.name}: {features.shape} for {len(crops)} crops")
        if not np.isfinite(features).all():
            raise _not_finite(self.spec, self._file)
        return features


def _not_finite(spec: BackboneSpec, file: Path) -> UserError:
    return UserError(
        f"{spec.name} returns features that are not finite with the weights in {file}. Pass "
        "another file."
    )


class _KerasApplication:
    def __init__(
        self,
        spec: BackboneSpec,
        file: Path,
        maps: bool,
        threads: int | None,
        gpu_share: float,
        batch_images: int,
    ) -> None:
        keras = load_keras(threads, gpu_share)
        # XLA compiles a program for each batch size, which takes seconds
        self._least = batch_images if keras.backend.backend() == "jax" else 0
        self._px = spec.input_px
        with keras_defaults(gpu_share):
            model = _build_model(keras, spec, file, maps)
        self._forward = compile_forward(keras, model, gpu_share)

    def __call__(self, crops: Crops, _: NDArray[np.float32] | None) -> Features:
        gray = np.stack([resize_crop(crop, self._px) for crop in crops])
        missing = max(0, self._least - len(gray))
        gray = np.pad(gray, ((0, missing), (0, 0), (0, 0)))
        return np.asarray(self._forward(gray[..., None]), dtype=np.float32)[: len(crops)]


def _build_model(keras: ModuleType, spec: BackboneSpec, file: Path, maps: bool) -> Any:
    """The network from gray images to features, with the weights of a file."""
    base = build_application(keras, spec)
    try:
        with keras_named_link(file) as link:
            base.load_weights(link)
    except Exception as problem:  # Keras raises many types
        raise wrong_weights_error(spec, file, problem) from None
    # Checked here, since ReLU turns a NaN into 0 on some CPUs.
    if not all(np.isfinite(values).all() for values in base.get_weights()):
        raise _not_finite(spec, file)
    gray = keras.Input((spec.input_px, spec.input_px, 1), dtype="float32")
    rgb = keras.layers.Concatenate()([gray, gray, gray])
    if spec.module:
        rgb = getattr(keras.applications, spec.module).preprocess_input(rgb)
    last = keras.layers.Flatten if maps else keras.layers.GlobalAveragePooling2D
    output = optimise_for_inference(keras, base)(rgb, training=False)
    model = keras.Model(gray, last(dtype="float32")(output))
    model.trainable = False
    return model


class _DlibNetwork:
    """dlib's 29-layer face network (King, dlib.net, 2017), on chips aligned by landmarks."""

    def __init__(self, spec: BackboneSpec, file: Path) -> None:
        self._dlib = import_dlib()
        self._px = spec.input_px
        try:
            self._model = self._dlib.face_recognition_model_v1(str(file))
        except RuntimeError as problem:
            raise wrong_weights_error(spec, file, problem) from None

    def __call__(self, crops: Crops, landmarks_xy: NDArray[np.float32] | None) -> Features:
        if landmarks_xy is None:
            raise ValueError("dlib_resnet needs the landmarks of each crop")
        chips = [self._chip(*pair) for pair in zip(crops, landmarks_xy, strict=True)]
        descriptors = self._model.compute_face_descriptor(chips)
        return np.array([list(descriptor) for descriptor in descriptors], dtype=np.float32)

    def _chip(self, crop: Crops, landmarks_xy: NDArray[np.float32]) -> Crops:
        dlib = self._dlib
        points = [dlib.point(int(x), int(y)) for x, y in landmarks_xy.reshape(N_LANDMARKS, 2)]
        box = dlib.rectangle(0, 0, crop.shape[1] - 1, crop.shape[0] - 1)
        shape = dlib.full_object_detection(box, points)
        rgb = np.repeat(crop[..., None], 3, axis=2)
        return np.asarray(dlib.get_face_chip(rgb, shape, self._px, CHIP_PADDING), np.uint8)
