"""Features side by side: which of a URL's are meant, and which of their nine images they share.

Knows no HTML, no JSON and no URL.
"""

from dataclasses import dataclass
from itertools import combinations
from typing import NamedTuple

from app.params.common import known_token
from app.state import OpenIndex
from app.web.errors import listed, unprocessable
from scopeview.errors import InputError
from scopeview.slots import Slot, Token, parse_layer, parse_number
from scopeview.store.records import MIN_GRID_IMAGES, Description, FeatureRecord, ImageRow

MAX_FEATURES = 12
MAX_NOTE_CHARS = 500
ACCEPTED = f"1 to {MAX_FEATURES} features as layer:feature or layer:feature:token, separated by commas"


class ComparedFeature(NamedTuple):
    """One feature of a comparison. `own_token` is the one its URL names; None where it follows the page's."""

    slot: Slot
    feature: int
    own_token: Token | None

    @property
    def text(self) -> str:
        """`22:1`, `22:1:137`: as the URL has it."""
        own = "" if self.own_token is None else f":{self.own_token}"
        return f"{self.slot.layer}:{self.feature}{own}"


@dataclass(frozen=True)
class Compared:
    """One feature with all that is shown of it."""

    chosen: ComparedFeature
    record: FeatureRecord
    description: Description | None

    @property
    def nine(self) -> list[int]:
        """The ids of its highest images, fewer where it fires on fewer."""
        return [top.image_id for top in self.record.top_images[:MIN_GRID_IMAGES]]


@dataclass(frozen=True)
class Pair:
    """Two of the features, by their places in the comparison, and the images among the nine of both."""

    one: int
    other: int
    shared: list[int]  # image ids, by rank of the first
    n_compared: int  # the most that could be shared


@dataclass(frozen=True)
class FeatureComparison:
    """Features in the order of the URL."""

    features: list[Compared]
    pairs: list[Pair]  # every two, in order
    rows: dict[int, ImageRow]  # the nine highest images of each, by id


def compared_features(index: OpenIndex, text: str, token: Token) -> list[ComparedFeature]:
    """`22:1,20:5:137` -> features, each once. Raises a 422 naming what is accepted, or what there is."""
    parts = [part.strip() for part in text.split(",") if part.strip()]
    chosen = list(dict.fromkeys(_chosen(index, part, token) for part in parts))
    if not 1 <= len(chosen) <= MAX_FEATURES:
        raise unprocessable("features", text, ACCEPTED)
    return chosen


def compare(index: OpenIndex, chosen: list[ComparedFeature]) -> FeatureComparison:
    features = [_compared(index, each) for each in chosen]
    ids = {image_id for each in features for image_id in each.nine}
    return FeatureComparison(features, pairs_of(features), index.reader.image_rows(sorted(ids)))


def pairs_of(features: list[Compared]) -> list[Pair]:
    return [
        Pair(i, j, shared_of(one.nine, other.nine), min(len(one.nine), len(other.nine)))
        for (i, one), (j, other) in combinations(enumerate(features), 2)
    ]


def shared_of(one: list[int], other: list[int]) -> list[int]:
    return [image_id for image_id in one if image_id in other]


def _compared(index: OpenIndex, chosen: ComparedFeature) -> Compared:
    slot = chosen.slot
    record = index.reader.feature(slot.layer, chosen.feature, slot.token)
    return Compared(chosen, record, index.reader.description(slot, chosen.feature))


def _chosen(index: OpenIndex, part: str, token: Token) -> ComparedFeature:
    pieces = part.split(":")
    feature = parse_number(pieces[1]) if len(pieces) in (2, 3) else None
    try:
        layer = parse_layer(pieces[0])
    except InputError:
        feature, layer = None, 0
    if feature is None:
        raise unprocessable("features", part, ACCEPTED)
    tokens = index.tokens(layer)
    if not tokens:
        raise unprocessable("features", part, f"a layer of {listed(index.layers)}")
    if feature >= index.n_features(layer):
        raise unprocessable("features", part, f"for layer {layer} 0 to {index.n_features(layer) - 1}")
    own = known_token(pieces[2], tokens) if len(pieces) == 3 else None
    followed = token if token in tokens else tokens[0]
    return ComparedFeature(Slot(layer, own or followed), feature, own)
