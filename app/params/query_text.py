"""The text of a search: words, or the number of a feature. Pure."""

import re
from typing import NamedTuple

from scopeview.errors import InputError
from scopeview.slots import Layer, parse_layer, parse_number

MAX_CHARS = 200

# `31415`, `22:31415`, `L22 · 31415`, `embed / 7`: as pages write a feature, and as people type it.
_PLACE = re.compile(r"(?:(?P<layer>embed|l?\s*[0-9]+)\s*[:·/,#-]\s*)?#?\s*(?P<feature>[0-9]+)", re.IGNORECASE)


class FeatureRef(NamedTuple):
    """A feature by its number; without a layer it may be in any layer."""

    layer: Layer | None
    feature: int


def feature_ref_in(text: str) -> FeatureRef | None:
    """Returns the feature that the text names by number; None if the text is words."""
    match = _PLACE.fullmatch(text.strip())
    if match is None:
        return None
    feature = parse_number(match["feature"])
    if feature is None or feature > 2**31 - 1:
        return None
    if match["layer"] is None:
        return FeatureRef(None, feature)
    try:
        return FeatureRef(parse_layer(match["layer"].lower().lstrip("l").strip()), feature)
    except InputError:
        return None
