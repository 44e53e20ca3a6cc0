"""A feature's figures, each with one line that says what it is. Pure."""

from dataclasses import dataclass
from typing import Literal

from app.formatting import at_token
from app.services.feature_details import FeatureDetails, description_metrics, finite

WORDS = {
    "density": "images on which it fires / images in the index",
    "max": "its highest activation on any indexed image at this token",
    "mean": "its mean activation over the images on which it fires",
    "clarity": "how alike its nine highest images look: mean cosine of their CLIP embeddings, each with each",
    "label_entropy": "how its activation spreads over the labels of its 20 highest images, in nats; 0: one",
    "selectivity": "over all tokens. 0: its maximum lies evenly over all patches; 1: always at the same one",
}


@dataclass(frozen=True)
class Reading:
    """One figure."""

    key: str  # in JSON, or the figure's short name
    term: str  # for people
    value: float | None  # None: its computation failed
    kind: Literal["percent", "number"]
    words: str  # what it is, in one line


def readings(sheet: FeatureDetails) -> list[Reading]:
    """Those that apply to this feature, failed ones included."""
    record = sheet.record
    found = [Reading("density", "density", record.density, "percent", WORDS["density"])]
    if record.max_activation is not None:
        found.append(_number("max", f"highest at {at_token(record.token)}", record.max_activation))
        found.append(_number("mean", f"mean at {at_token(record.token)}", record.mean_activation))
    if sheet.description is not None:
        for key, value in description_metrics(sheet.description).items():
            if value is not None:
                found.append(_number(key, _TERMS[key], value))
    return found


def _number(key: str, term: str, value: float | None) -> Reading:
    return Reading(key, term, finite(value), "number", WORDS[key])


_TERMS = {
    "clarity": "clarity",
    "label_entropy": "label entropy",
    "selectivity": "position selectivity",
}
