"""`.../steering`: edit features of an image and see what changes."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Annotated

from fastapi import APIRouter, Query
from fastapi.responses import RedirectResponse, Response
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request

from app.formatting import layer_name
from app.pages.cards import Bar, FeatureView, bar
from app.pages.image import approximate
from app.pages.image.activations import cache_headers, grid_view
from app.pages.image.active_features import view_of
from app.pages.image.header import HeaderView, header_view, image_frame
from app.pages.image.patch_grid import GridView
from app.pages.image.steering_effect import EffectView, effect_view
from app.pages.image.steering_state import SteeringState, edit_links, edit_words
from app.pages.image.view_state import ViewState, selection_words, tokens_there
from app.pages.layout import Link
from app.pages.render import Page, render
from app.params.dependencies import IndexDep, SiteDep
from app.params.view_params import (
    MAX_PROMPTS,
    EditsQuery,
    LayerQuery,
    PromptsQuery,
    TokensQuery,
    deep_layer,
    known_edits,
    known_prompts,
    known_selection,
)
from app.services.decomposition import layer_of
from app.services.feature_cards import FeatureCards, described_slot, read_cards
from app.services.groups import cards_of_groups, group_features, group_names
from app.services.images import ImageDep, ImageRef
from app.services.steering import PromptEmbeddings, prompts_of, run_steered
from app.state import AppState, OpenIndex
from app.web.caching import PRIVATE
from scopeview.analysis.decomposition import LayerDecomposition
from scopeview.analysis.feature_edits import Edit, FeatureEdits, SteeredEmbeddings
from scopeview.analysis.grouping import Group
from scopeview.analysis.token_selection import Selection, summarize
from scopeview.slots import ANY, Layer
from scopeview.store.records import ActiveFeature

N_OFFERED, N_PROMPTS, N_BLANK = 12, 6, 2

TurnQuery = Annotated[str, Query(max_length=20_000, description="features to edit, separated by commas")]
AmountQuery = Annotated[
    str, Query(max_length=20, description="the new activation such as 4.5, or a factor such as x2")
]

router = APIRouter(include_in_schema=False)


@dataclass(frozen=True)
class FeatureEditView:
    """One edit in use."""

    features: str  # as the address has them
    first: FeatureView | None  # the first of them; None where the index knows nothing of it
    n_features: int
    words: str  # `set to 4.5`
    edit_links: list[Link]
    undo: str  # the page without it
    amount: str  # as one writes it: `4.5`, `x2`


@dataclass(frozen=True)
class EditOption:
    """A group or a feature that can be edited."""

    name: str  # of a group; empty for a feature
    feature: FeatureView | None  # None for a group
    n_features: int
    share: Bar  # of the mass here
    edit_links: list[Link]


@dataclass(frozen=True)
class SteeringPage(Page):
    template = "image/steering.html"

    header: HeaderView
    grid: GridView
    heading: str  # `L6 at patch (8, 8)`
    note: str | None  # which values are approximate
    edits: list[FeatureEditView]
    reset: str | None  # the page without any; None where there is none
    effect: EffectView
    prompts: list[str]  # that are compared
    n_blank: int  # empty lines to write more into
    groups: list[EditOption]
    features: list[EditOption]
    action: str  # where the forms go
    hidden: list[tuple[str, str]]  # what the form of prompts keeps
    kept: list[tuple[str, str]]  # what a form that turns something keeps


@router.get("/{index}/{kind}/{image_id}/steering", name="steering")
async def steering(
    request: Request,
    site: SiteDep,
    index: IndexDep,
    image: ImageDep,
    layer: LayerQuery = None,
    tokens: TokensQuery = ANY,
    edit: EditsQuery = (),
    prompt: PromptsQuery = (),
    turn: TurnQuery = "",
    to: AmountQuery = "",
) -> Response:
    """Shows the effect of edits. A form adds `turn` and `to`: these redirect to the address with the edit."""
    at = deep_layer(index, layer)
    selection, edits = known_selection(index, at, tokens), known_edits(index, at, edit)
    state = SteeringState(image.address, at, selection, edits, tuple(known_prompts(prompt)))
    if turn:
        (added,) = known_edits(index, at, [f"{turn}:{to}".replace(" ", "")])
        return RedirectResponse(state.with_edit(added).url(), 302)
    if tokens != selection.text:
        return RedirectResponse(state.url(), 302)
    edited_features = [feature for each in edits for feature in each.features]
    decoding = request.app.state.decode_limiter
    found = await layer_of(site, index, image, at, decoding, edited_features)
    texts = list(state.prompts) or await run_in_threadpool(_suggested_prompts, index, state, found)
    feature_edits = FeatureEdits(at, edits, selection.positions)
    steered = await run_steered(site, index, image, feature_edits, decoding)
    prompts = await prompts_of(site, index, texts)
    return await run_in_threadpool(_answer, request, site, index, image, state, found, steered, prompts)


def _answer(
    request: Request,
    site: AppState,
    index: OpenIndex,
    image: ImageRef,
    state: SteeringState,
    found: LayerDecomposition,
    steered: SteeredEmbeddings,
    prompts: PromptEmbeddings,
) -> Response:
    page = _page(request, site, index, image, state, found, steered, prompts)
    # Why nothing was compared may be over in a moment.
    return render(request, page, headers=cache_headers(image) if prompts.why_not is None else PRIVATE)


def _page(
    request: Request,
    site: AppState,
    index: OpenIndex,
    image: ImageRef,
    state: SteeringState,
    found: LayerDecomposition,
    steered: SteeredEmbeddings,
    prompts: PromptEmbeddings,
) -> SteeringPage:
    layer, selection = state.layer, state.selection
    groups = group_features(site.worker.encoder(index.reader.index_dir), layer, found, selection)
    where = selection_words(selection, layer, index.manifest.model.grid_size)
    return SteeringPage(
        frame=image_frame(
            index,
            image.address,
            f"steering {layer_name(layer)}",
            layer=layer,
            tokens=selection.text,
            link=lambda to, token: _elsewhere(state, to, token),
            json_url=state.url(api=True),
        ),
        header=header_view(request, site, index, image, "steering", layer=layer, tokens=selection.text),
        grid=grid_view(
            index,
            ViewState(image.address, layer, selection),
            None,
            to=lambda tokens: _at(state, tokens).url(),
        ),
        heading=f"{layer_name(layer)} {where}",
        note=approximate.of_edits(found),
        edits=_edits(index, state, found),
        reset=replace(state, edits=()).url() if state.edits else None,
        effect=effect_view(index, steered, prompts, image.image_id),
        prompts=list(prompts.texts),
        n_blank=min(N_BLANK, MAX_PROMPTS - len(prompts.texts)),
        groups=_groups(index, state, groups),
        features=_features(index, state, found),
        action=image.address.url("steering"),
        hidden=state.hidden("prompt"),
        kept=state.hidden(),
    )


def _at(state: SteeringState, tokens: str) -> SteeringState:
    selection = Selection(tokens, state.selection.positions)
    return SteeringState(state.at, state.layer, selection, state.edits, state.prompts)


def _elsewhere(state: SteeringState, layer: Layer, token: str | None) -> str:
    """Returns a link to another layer, with the prompts but without the edits, or to another token.

    At another layer, the same numbers are other features.
    """
    if layer == state.layer:
        return _at(state, token or state.selection.text).url()
    tokens = tokens_there(layer, state.selection.text)
    return state.at.url("steering", layer=layer, tokens=tokens, prompt=list(state.prompts))


def _suggested_prompts(index: OpenIndex, state: SteeringState, found: LayerDecomposition) -> list[str]:
    """Returns the names of the features with the most mass, as default prompts."""
    here = summarize(found, state.selection, order="mass", top=100)
    slot = described_slot(index, state.layer, state.selection)
    cards = index.reader.cards(slot, [active.feature for active in here.features])
    names = [cards[active.feature].name for active in here.features if active.feature in cards]
    return list(dict.fromkeys(name for name in names if name))[:N_PROMPTS]


def _edits(index: OpenIndex, state: SteeringState, found: LayerDecomposition) -> list[FeatureEditView]:
    slot = described_slot(index, state.layer, state.selection)
    cards = read_cards(index, slot, [edit.features[0] for edit in state.edits], with_histograms=False)
    values = {each.feature: each.activation for each in summarize(found, state.selection).features}
    return [edit_view(index, state, cards, edit, values.get(edit.features[0], 0.0)) for edit in state.edits]


def edit_view(
    index: OpenIndex, state: SteeringState, cards: FeatureCards, edit: Edit, value: float
) -> FeatureEditView:
    """Builds the view of an edit; `value` is the activation of its first feature."""
    first = edit.features[0]
    found = ActiveFeature(first, value, None)
    factor = "x" if edit.kind == "scale" else ""
    return FeatureEditView(
        features=",".join(map(str, edit.features)),
        first=view_of(index, state.at, cards, first, found) if first in cards.cards else None,
        n_features=len(edit.features),
        words=edit_words(edit),
        edit_links=edit_links(state, edit.features),
        undo=state.without(edit.features).url(),
        amount=f"{factor}{edit.amount:g}",
    )


def _groups(index: OpenIndex, state: SteeringState, groups: Sequence[Group]) -> list[EditOption]:
    cards = cards_of_groups(index, state.layer, state.selection, groups, 0)
    return [
        group_option(state, names[0], group.features.tolist(), group.share)
        for group, names in zip(groups, group_names(groups, cards.cards, state.layer), strict=True)
    ]


def group_option(state: SteeringState, name: str, features: Sequence[int], share: float) -> EditOption:
    return EditOption(name, None, len(features), bar(share, 1.0), edit_links(state, features))


def _features(index: OpenIndex, state: SteeringState, found: LayerDecomposition) -> list[EditOption]:
    here = summarize(found, state.selection, order="mass", top=N_OFFERED)
    slot = described_slot(index, state.layer, state.selection)
    cards = read_cards(index, slot, [active.feature for active in here.features], with_histograms=False)
    return [
        feature_option(
            index, state, cards, ActiveFeature(active.feature, active.activation, None), active.share
        )
        for active in here.features[: here.n_stored or None]
        if active.feature in cards.cards
    ]


def feature_option(
    index: OpenIndex, state: SteeringState, cards: FeatureCards, found: ActiveFeature, share: float
) -> EditOption:
    view = view_of(index, state.at, cards, found.feature, found)
    return EditOption("", view, 1, bar(share, 1.0), edit_links(state, [found.feature]))
