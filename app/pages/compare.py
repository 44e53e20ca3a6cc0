"""`/{index}/compare`: features side by side, the images they share, and a note, all in the URL."""

from dataclasses import dataclass, replace
from typing import Any

from fastapi import APIRouter
from fastapi.responses import HTMLResponse, RedirectResponse, Response
from starlette.requests import Request

from app.formatting import feature_name, token_name, token_words
from app.pages.cards import FeatureView, ImageView, feature_view, image_view
from app.pages.layout import Frame, Link, frame_for
from app.pages.render import Page, render
from app.params.compare_params import (
    MAX_FEATURES,
    MAX_NOTE_CHARS,
    AddQuery,
    ComparedFeature,
    FeaturesQuery,
    NoteQuery,
    compared_features,
)
from app.params.dependencies import IndexDep, TokenQuery
from app.params.view_params import slot_filter
from app.services.compare_features import FeatureComparison, FeatureEntry, FeaturePair, compare
from app.services.feature_details import description_metrics, finite, indexed
from app.state import OpenIndex
from app.urls import URLS
from scopeview.slots import Token
from scopeview.store.records import Name

N_NAMES, N_LIKE = 3, 8

router = APIRouter(include_in_schema=False)


@dataclass(frozen=True)
class MetricCell:
    """One figure of one feature."""

    term: str
    value: int | float | None  # a count or a measure; None: its computation failed


@dataclass(frozen=True)
class FeatureEntryView:
    """One feature of the comparison."""

    feature: FeatureView
    token: str  # as shown: the one it is compared at
    names: list[Name]
    figures: list[MetricCell]
    without: str  # the comparison without it


@dataclass(frozen=True)
class PairView:
    """Two features that share images."""

    one: str
    other: str
    n_compared: int
    images: list[ImageView]  # the shared images


@dataclass(frozen=True)
class SharedCell:
    """Number of top-nine images that two features share; None for a feature and itself."""

    n_shared: int | None
    n_compared: int


@dataclass(frozen=True)
class ComparePage(Page):
    template = "compare.html"

    features: list[FeatureEntryView]  # in the order of the URL
    matrix: list[list[SharedCell]]  # rows and columns in the same order
    pairs: list[PairView]  # those that share any, most first
    note: str
    action: str  # where the forms go
    hidden: dict[str, str]  # what the forms keep
    may_add: bool
    like: list[Link]  # the comparison with one more, that resembles the last
    max_note_chars: int


@router.get("/{index}/compare", name="compare")
def compare_page(
    request: Request,
    index: IndexDep,
    features: FeaturesQuery = "",
    token: TokenQuery = None,
    note: NoteQuery = "",
    add: AddQuery = "",
) -> Response:
    """Shows the comparison; with nothing to compare yet, how to begin."""
    at = slot_filter(index, None, token).token
    if add:
        chosen = compared_features(index, f"{features},{add}", at)
        return RedirectResponse(_url(index, chosen, token, note), 302)
    chosen = compared_features(index, features, at) if features else []
    return _answer(request, index, compare(index, chosen), chosen, token, note)


def _answer(
    request: Request,
    index: OpenIndex,
    found: FeatureComparison,
    chosen: list[ComparedFeature],
    token: Token | None,
    note: str,
) -> HTMLResponse:
    page = ComparePage(
        frame=_frame(index, chosen, token, note),
        features=[_view(index, found, each, chosen, token, note) for each in found.features],
        matrix=_matrix(found),
        pairs=_pairs(index, found),
        note=note,
        action=URLS.compare(index.slug),
        hidden=_hidden(chosen, token),
        may_add=len(chosen) < MAX_FEATURES,
        like=_like(index, found, chosen, token, note) if len(chosen) < MAX_FEATURES else [],
        max_note_chars=MAX_NOTE_CHARS,
    )
    return render(request, page)


def _url(
    index: OpenIndex, chosen: list[ComparedFeature], token: Token | None, note: str, *, api: bool = False
) -> str:
    query: dict[str, Any] = {
        "features": ",".join(each.text for each in chosen) or None,
        "token": token,
        "note": note or None,
    }
    return URLS.compare(index.slug, api=api, **query)


def _hidden(chosen: list[ComparedFeature], token: Token | None) -> dict[str, str]:
    given = {"features": ",".join(each.text for each in chosen), "token": token}
    return {name: value for name, value in given.items() if value}


def _frame(index: OpenIndex, chosen: list[ComparedFeature], token: Token | None, note: str) -> Frame:
    """Builds the frame; its switch changes the token of all features that name none of their own."""
    at = slot_filter(index, None, token).token
    names = " and ".join(feature_name(each.slot.layer, each.feature) for each in chosen[:3])
    more = f" and {len(chosen) - 3} more" if len(chosen) > 3 else ""
    json_url = _url(index, chosen, token, note, api=True) if chosen else None
    frame = frame_for(index, f"compare {names}{more}".strip(), token=at, json_url=json_url)
    grid_size = index.manifest.model.grid_size
    tokens = [
        Link(token_name(to), _url(index, chosen, to, note), to == at, token_words(0, to, grid_size))
        for to in index.manifest.tokens
    ]
    return replace(frame, tokens=tokens)


def _view(
    index: OpenIndex,
    found: FeatureComparison,
    compared: FeatureEntry,
    chosen: list[ComparedFeature],
    token: Token | None,
    note: str,
) -> FeatureEntryView:
    record, described = compared.record, compared.description
    names = described.names if described else []
    view = feature_view(index, record, found.rows, compared.nine)
    return FeatureEntryView(
        feature=view._replace(word=names[0].word, word_score=names[0].score) if names else view,
        token=token_name(record.token),
        names=names[1:N_NAMES],
        figures=_figures(compared),
        without=_url(index, [each for each in chosen if each != compared.chosen], token, note),
    )


def _figures(compared: FeatureEntry) -> list[MetricCell]:
    record = compared.record
    found = [MetricCell("images", record.n_active)]
    if record.mean_activation is not None:
        found.append(MetricCell("mean activation", finite(record.mean_activation)))
    described = description_metrics(compared.description) if compared.description else {}
    return found + [
        MetricCell(key.replace("_", " "), finite(value))
        for key, value in described.items()
        if value is not None
    ]


def _matrix(found: FeatureComparison) -> list[list[SharedCell]]:
    n = len(found.features)
    cells = {(pair.one, pair.other): SharedCell(len(pair.shared), pair.n_compared) for pair in found.pairs}
    itself = SharedCell(None, 0)
    return [[cells.get((min(i, j), max(i, j)), itself) for j in range(n)] for i in range(n)]


def _pairs(index: OpenIndex, found: FeatureComparison) -> list[PairView]:
    share_view = sorted((pair for pair in found.pairs if pair.shared), key=lambda pair: -len(pair.shared))
    return [_pair(index, found, pair) for pair in share_view]


def _pair(index: OpenIndex, found: FeatureComparison, pair: FeaturePair) -> PairView:
    one, other = (found.features[at] for at in (pair.one, pair.other))
    same_token = one.record.token == other.record.token
    return PairView(
        one=_name(one, with_token=not same_token),
        other=_name(other, with_token=not same_token),
        n_compared=pair.n_compared,
        images=[image_view(index, found.rows[image_id]) for image_id in pair.shared],
    )


def _name(compared: FeatureEntry, *, with_token: bool) -> str:
    name = feature_name(compared.record.layer, compared.record.feature)
    return f"{name} at {token_name(compared.record.token)}" if with_token else name


def _like(
    index: OpenIndex, found: FeatureComparison, chosen: list[ComparedFeature], token: Token | None, note: str
) -> list[Link]:
    """Returns links to neighbors of the last feature that are not compared yet, each once."""
    if not found.features or found.features[-1].description is None:
        return []
    last = found.features[-1].description
    here = {(each.slot.layer, each.feature) for each in chosen}
    near = dict.fromkeys(
        (each.layer, each.feature)
        for each in indexed(index, [*last.within, *last.across])
        if (each.layer, each.feature) not in here
    )
    return [
        Link(
            feature_name(layer, feature),
            URLS.compare(
                index.slug,
                features=",".join([*(each.text for each in chosen), f"{layer}:{feature}"]),
                token=token,
                note=note or None,
            ),
        )
        for layer, feature in list(near)[:N_LIKE]
    ]
