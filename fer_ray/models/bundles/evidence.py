"""What a bundle tells of its model: the images that it has seen, and how well it did."""

from pydantic import field_validator

from fer_ray.settings.base import Strict


class ClassRecall(Strict):
    """Recall of one class with its 95 % interval."""

    recall: float
    interval_95: tuple[float, float]


class Evidence(Strict):
    """How well the model did in the experiment that it comes from, and under which protocol.

    The figures are of models that were fitted on a part of the images each; `Training.how` tells
    what the bundle's own was fitted on.
    """

    data: str  # the data set's name
    synthetic: bool
    experiment: str
    protocol: str
    trials: int
    chosen_among: int = 1  # models whose figures on the same test images were compared for it
    images: int
    subjects: int
    classes: tuple[str, ...]
    test_accuracy: float
    interval_95: tuple[float | None, float | None]
    interval_method: str
    macro_recall: float
    macro_f1: float
    test_log_loss: float
    calibration_error: float
    test_subject_in_train: float | None
    recall_by_class: dict[str, ClassRecall]
    recall_interval_method: str

    @field_validator("interval_95")
    @classmethod
    def _both_ends(cls, ends: tuple[float | None, float | None]) -> tuple[float | None, ...]:
        if (ends[0] is None) != (ends[1] is None):
            raise ValueError("one end of it is missing")
        return ends


class Training(Strict):
    """The images that any part of the model's making has seen."""

    images: int
    subjects: int
    by_class: dict[str, int]
    how: str  # what of it the model was fitted on, in words
    frames_fingerprint: str
    source_digest: str
