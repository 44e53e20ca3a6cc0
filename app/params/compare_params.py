"""Query parameters of a comparison of features, for the page and its JSON."""

from typing import Annotated, NamedTuple

from fastapi import Query

from app.params.dependencies import known_token
from app.state import OpenIndex
from app.web.errors import listed, unprocessable
from scopeview.errors import InputError
from scopeview.slots import Slot, Token, parse_layer, parse_number

MAX_FEATURES = 12
MAX_NOTE_CHARS = 500
ACCEPTED = f"1 to {MAX_FEATURES} features as layer:feature or layer:feature:token, separated by commas"

FeaturesQuery = Annotated[str, Query(max_length=400, description=ACCEPTED)]
NoteQuery = Annotated[
    str,
    Query(
        max_length=MAX_NOTE_CHARS,
        description=f"note shown with the comparison, at most {MAX_NOTE_CHARS} characters",
    ),
]
AddQuery = Annotated[str, Query(max_length=80, description="a feature to add to `features`")]


class ComparedFeature(NamedTuple):
    """One feature of a comparison. `own_token` is the one its URL names; None: it follows the page's."""

    slot: Slot
    feature: int
    own_token: Token | None

    @property
    def text(self) -> str:
        """The feature as in the URL: `22:1` or `22:1:137`."""
        own = "" if self.own_token is None else f":{self.own_token}"
        return f"{self.slot.layer}:{self.feature}{own}"


def compared_features(index: OpenIndex, text: str, token: Token) -> list[ComparedFeature]:
    """Parses `22:1,20:5:137` to features, each once. Raises a 422 that names what is accepted."""
    parts = [part.strip() for part in text.split(",") if part.strip()]
    chosen = list(dict.fromkeys(_chosen(index, part, token) for part in parts))
    if not 1 <= len(chosen) <= MAX_FEATURES:
        raise unprocessable("features", text, ACCEPTED)
    return chosen


def _chosen(index: OpenIndex, part: str, token: Token) -> ComparedFeature:
    fields = part.split(":")
    feature = parse_number(fields[1]) if len(fields) in (2, 3) else None
    try:
        layer = parse_layer(fields[0])
    except InputError:
        feature, layer = None, 0
    if feature is None:
        raise unprocessable("features", part, ACCEPTED)
    tokens = index.tokens(layer)
    if not tokens:
        raise unprocessable("features", part, f"a layer of {listed(index.layers)}")
    if feature >= index.n_features(layer):
        raise unprocessable("features", part, f"for layer {layer} 0 to {index.n_features(layer) - 1}")
    own = known_token(fields[2], tokens) if len(fields) == 3 else None
    followed = token if token in tokens else tokens[0]
    return ComparedFeature(Slot(layer, own or followed), feature, own)
