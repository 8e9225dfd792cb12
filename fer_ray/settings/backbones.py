"""The table of backbones. To add a Keras application, add one line here.

A network from the user's file has the same description, but no line in the table.

Weights files and their hashes are those that Keras downloads and verifies. The parameter counts
are those of the networks without their top.
"""

from dataclasses import dataclass, field, replace
from typing import Any

from fer_ray.settings.base import absolute_text
from fer_ray.settings.network_interface import FileNetwork

KERAS_FILES = "https://storage.googleapis.com/tensorflow/keras-applications/"
IMAGENET, EMBEDDED = "imagenet", "embedded"


@dataclass(frozen=True)
class BackboneSpec:
    """A pretrained network without its top.

    Attributes:
        name: Its name in settings, folders and tables.
        input_px: Side of its square input; crops of another size are resized.
        map_shape: Rows and columns of the feature map; None for a network that has none.
        width: Channels of the feature map, which are the features per image after global average
            pooling.
        preprocessing: What is applied to the grayscale crop (0 – 255) repeated in three channels.
        weights: Default origin of the weights: `imagenet` or `embedded`.
        licence: Licence of the weights.
        application: Class in `keras.applications`; empty for other networks.
        module: Module of `keras.applications` with `preprocess_input`; empty: no preprocessing.
        parameters: Number of parameters in a weights file.
        url: The file that `imagenet` stands for.
        file_hash: Its published hash: MD5 (32 digits) or SHA-256 (64 digits).
        batch_images: Images per batch on CPUs; larger batches are no faster.
        options: Further arguments of the application.
        precision: In which its layers compute: `float32` or `bfloat16`. Weights and features are
            float32 in both cases.
        file_network: How to call a network from the user's file; None for those of the table.
    """

    name: str
    input_px: int
    map_shape: tuple[int, int] | None
    width: int
    preprocessing: str
    weights: str
    licence: str
    application: str = ""
    module: str = ""
    parameters: int = 0
    url: str = ""
    file_hash: str = ""
    batch_images: int = 8
    options: dict[str, Any] = field(default_factory=dict, hash=False)
    precision: str = "float32"
    file_network: FileNetwork | None = None

    @property
    def needs_keras(self) -> bool:
        """Whether Keras runs it."""
        network = self.file_network
        return bool(self.application) if network is None else network.format == "keras"

    @property
    def needs_landmarks(self) -> bool:
        """Whether it aligns faces by their landmarks."""
        return not self.application and self.file_network is None

    def n_features(self, maps: bool) -> int:
        """Count the features per image: of the feature map if `maps`, otherwise pooled.

        Raises:
            ValueError: The network has no feature map.
        """
        if not maps:
            return self.width
        if self.map_shape is None:
            raise ValueError(f"{self.name} has no feature map: use pooled features")
        return self.map_shape[0] * self.map_shape[1] * self.width


_VGG16 = BackboneSpec(
    "vgg16", 350, (10, 10), 512, "ImageNet means subtracted", IMAGENET, "CC BY 4.0 (Oxford VGG)",
    "VGG16", "vgg16", 14_714_688,
    KERAS_FILES + "vgg16/vgg16_weights_tf_dim_ordering_tf_kernels_notop.h5",
    "6d6bbae143d832006294945121d1f1fc",
)  # fmt: skip

_XCEPTION = BackboneSpec(
    "xception", 350, (11, 11), 2048, "scaled to −1 … 1", IMAGENET, "MIT (Keras)",
    "Xception", "xception", 20_861_480,
    KERAS_FILES + "xception/xception_weights_tf_dim_ordering_tf_kernels_notop.h5",
    "b0042744bf5b25fce3cb969f33bebb97",
)  # fmt: skip

_SPECS = (
    _VGG16,
    # The reference study ran its augmented network without the preprocessing of VGG16 (a bug).
    replace(_VGG16, name="vgg16_raw", preprocessing="none: 0 – 255", module=""),
    _XCEPTION,
    # Half the time on CPUs and GPUs that multiply bfloat16; slower on others.
    replace(_VGG16, name="vgg16_bf16", precision="bfloat16"),
    replace(_XCEPTION, name="xception_bf16", precision="bfloat16"),
    # Keras publishes no hash for MobileNet's files; this is the SHA-256 of the file that it serves.
    BackboneSpec(
        "mobilenet", 224, (7, 7), 256, "scaled to −1 … 1", IMAGENET, "Apache 2.0 (Keras)",
        "MobileNet", "mobilenet", 218_544,
        KERAS_FILES + "mobilenet/mobilenet_2_5_224_tf_no_top.h5",
        "dbdb03ee2a22fd895301636cd328b234bb3a9952358f436d82f46b81e0d5b0bf",
        16, {"alpha": 0.25},
    ),
    BackboneSpec(
        "efficientnetv2b0", 224, (7, 7), 1280, "within the network", IMAGENET, "Apache 2.0 (Keras)",
        "EfficientNetV2B0", "", 5_919_312,
        KERAS_FILES + "efficientnet_v2/efficientnetv2-b0_notop.h5",
        "893217f2bb855e2983157299931e43ff",
    ),
    BackboneSpec(
        "convnext_tiny", 224, (7, 7), 768, "within the network", IMAGENET, "Apache 2.0 (Keras)",
        "ConvNeXtTiny", "", 27_820_128,
        KERAS_FILES + "convnext/convnext_tiny_notop.h5",
        "d547c096cabd03329d7be5562c5e14798aa39ed24b474157cef5e85ab9e49ef1",
    ),
    # Its input is a 150-px chip aligned by the landmarks, padding 0.25, as in dlib's examples. Its
    # output is the 128 values that it was trained for, not a feature map.
    BackboneSpec(
        "dlib_resnet", 150, None, 128, "chip aligned by landmarks, dlib's own scaling", EMBEDDED,
        "public domain (dlib-models)", batch_images=16,
    ),
)  # fmt: skip

BACKBONES = {spec.name: spec for spec in _SPECS}

# The backbones of the reference study, which trained its head on their features.
REFERENCE_BACKBONES = ("vgg16", "xception")


def backbone_spec(backbone: BackboneSpec | str) -> BackboneSpec:
    """The description of a backbone that is given by its name in the table, or by itself."""
    return BACKBONES[backbone] if isinstance(backbone, str) else backbone


def file_backbone(name: str, network: FileNetwork) -> BackboneSpec:
    """Describe a network from the user's file as a backbone.

    It computes one image at a time on CPUs, so that its features do not depend on other images.

    Args:
        name: The name that the user gives it.
        network: How to call it.
    """
    return BackboneSpec(
        name,
        network.input_px,
        network.map_shape,
        network.width,
        network.preprocessing,
        weights="",
        licence="set by the owner of the file",
        batch_images=1,
        file_network=network,
    )


def backbone_of_record(name: str, network: dict[str, Any] | None) -> BackboneSpec:
    """Describe a backbone from the record of its features.

    Args:
        name: Its name.
        network: `network` of the record; None for those of the table.
    """
    return (
        BACKBONES[name]
        if network is None
        else file_backbone(name, FileNetwork.model_validate(network))
    )


def absolute_weights(source: str) -> str:
    """Make the path of a weights file absolute; `imagenet` and `embedded` stay the same."""
    return source if source in (IMAGENET, EMBEDDED) else str(absolute_text(source))
