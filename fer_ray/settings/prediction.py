"""Settings of predictions with a model bundle."""

from pydantic import Field

from fer_ray.settings.base import StrictModel


class PredictionSettings(StrictModel):
    """What a prediction answers."""

    abstain_below: float | None = Field(
        None,
        ge=0,
        le=1,
        description="Answer `abstained` if the predicted class is less probable than this; 0: "
        "never. By default, whenever the prediction set does not consist of exactly one class.",
    )
