"""A feature's metrics, each with a line of explanation. Pure."""

from dataclasses import dataclass
from typing import Literal

from app.formatting import at_token
from app.services.feature_details import FeatureDetails, description_metrics, finite

WORDS = {
    "density": "images on which the feature fires / images in the index",
    "max": "highest activation on any indexed image at this token",
    "mean": "mean activation over the images on which the feature fires",
    "clarity": "visual similarity of its top nine images: mean pairwise cosine of their CLIP embeddings",
    "label_entropy": "entropy of activation over the labels of its top 20 images, in nats; 0: one label",
    "selectivity": "over all tokens; 0: maximum spread evenly over the patches; 1: always at one patch",
}


@dataclass(frozen=True)
class Metric:
    """One figure."""

    key: str  # in JSON, or the figure's short name
    term: str  # for people
    value: float | None  # None: its computation failed
    kind: Literal["percent", "number"]
    words: str  # what it is, in one line


def metrics(details: FeatureDetails) -> list[Metric]:
    """Returns the metrics that apply to this feature, including those that failed."""
    record = details.record
    found = [Metric("density", "density", record.density, "percent", WORDS["density"])]
    if record.max_activation is not None:
        found.append(_number("max", f"maximum at {at_token(record.token)}", record.max_activation))
        found.append(_number("mean", f"mean at {at_token(record.token)}", record.mean_activation))
    if details.description is not None:
        for key, value in description_metrics(details.description).items():
            if value is not None:
                found.append(_number(key, _TERMS[key], value))
    return found


def _number(key: str, term: str, value: float | None) -> Metric:
    return Metric(key, term, finite(value), "number", WORDS[key])


_TERMS = {
    "clarity": "clarity",
    "label_entropy": "label entropy",
    "selectivity": "position selectivity",
}
