"""The components of the pages about one picture, each in its states, for `/patterns`.

They are made of the same views by the same functions; the picture and the features are the index's own, what
is said to be active where is made up.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from app.formatting import layer_name, token_name
from app.pages.cards import PictureView, picture_of
from app.pages.image.activations import grid_view
from app.pages.image.active_features import ActiveView, active_views, view_of
from app.pages.image.compare import BothView, SidesView
from app.pages.image.flow_svg import WIDTH_PX
from app.pages.image.group_views import GroupView, group_view
from app.pages.image.header import KeptView
from app.pages.image.layers import ColumnView, column_views, height_of
from app.pages.image.patch_grid import GridView
from app.pages.image.reconstruction import ExplainedView, explained_view
from app.pages.image.selected_feature import SelectedFeatureView, selected_feature
from app.pages.image.similar import SimilarView
from app.pages.image.steering import EditView, OfferView, edit_view, feature_offer, group_offer
from app.pages.image.steering_effect import NearestImageView, PromptView
from app.pages.image.steering_state import KnobsState
from app.pages.image.view_state import Looking
from app.pages.layout import Link
from app.pages.styleguide.sample_image import Stage, stage_of
from app.services.feature_cards import FeatureCards
from app.services.groups import group_names
from app.services.layer_flow import FeatureLink, HeavyGroup, LayerColumn
from app.state import OpenIndex
from app.uploads.store import EXTENDED_TTL_S
from app.urls import URLS
from scopeview.analysis.feature_edits import Edit
from scopeview.analysis.grouping import Group
from scopeview.analysis.token_selection import Selection, format_positions, summarize
from scopeview.slots import ANY, EMBED
from scopeview.store.records import ActiveFeature

_SHARES = (0.5, 0.3, 0.2)


@dataclass(frozen=True)
class GridState:
    """A picture one can point into, in one state."""

    words: str
    grid: GridView


@dataclass(frozen=True)
class KeptState:
    words: str
    kept: KeptView


@dataclass(frozen=True)
class Pieces:
    """All that pages about one picture are made of."""

    picture: PictureView
    grids: list[GridState]
    actives: list[ActiveView]
    chosen: list[SelectedFeatureView]
    explained: list[ExplainedView]
    size: int  # patches on a side
    groups: list[GroupView]
    columns: list[ColumnView]
    width_px: int
    height_px: int
    edits: list[EditView]
    group_offers: list[OfferView]
    feature_offers: list[OfferView]
    prompts: list[PromptView]
    before: list[NearestImageView]
    after: list[NearestImageView]
    likes: list[SimilarView]
    sides: list[SidesView]
    kept: list[KeptState]


def pieces(index: OpenIndex) -> Pieces | None:
    """None where the index has no block with enough features that fire, or no image."""
    stage = stage_of(index)
    if stage is None:
        return None
    columns = _columns(stage)
    return Pieces(
        picture=picture_of(index, stage.rows[0]),
        grids=_grids(stage),
        actives=_actives(stage),
        chosen=_chosen(stage),
        explained=_explained(stage),
        size=stage.size,
        groups=_groups(stage),
        columns=column_views(index, stage.at, columns, ANY),
        width_px=WIDTH_PX,
        height_px=height_of(columns),
        edits=_edits(stage),
        group_offers=_group_offers(stage),
        feature_offers=_feature_offers(stage),
        prompts=_prompts(),
        before=_near(stage, alone=False),
        after=_near(stage, alone=True),
        likes=_likes(stage),
        sides=_sides(stage),
        kept=_kept(),
    )


def _grids(stage: Stage) -> list[GridState]:
    index, looking = stage.index, stage.looking
    middle = stage.size // 2 * (stage.size + 1) + 1
    some = tuple(at for at in (middle, middle + 1, middle + stage.size) if at <= stage.size**2)
    chosen = selected_feature(
        index, looking.choosing(stage.features[0]), stage.cards, stage.found, stage.size
    )
    selected = Looking(stage.at, stage.layer, Selection(format_positions(some), some))
    at_cls = Looking(stage.at, stage.layer, Selection("cls", (0,)))
    states = [
        GridState("the whole image", grid_view(index, looking, None)),
        GridState("some patches", grid_view(index, selected, None)),
        GridState(
            "with the heatmap of a feature", grid_view(index, looking, chosen.heat if chosen else None)
        ),
        GridState("CLS", grid_view(index, at_cls, None)),
    ]
    if EMBED in index.layers:
        whole = Looking(stage.at, EMBED, Selection(ANY, None))
        states.append(GridState("a layer without patches", grid_view(index, whole, None)))
    return states


def _actives(stage: Stage) -> list[ActiveView]:
    """The first is the chosen one; the last has no histogram, since it never fired in the index."""
    looking = stage.looking.choosing(stage.features[0])
    here = summarize(stage.found, looking.selection)
    views = active_views(stage.index, looking, stage.cards, here, stage.found)
    without = FeatureCards(stage.cards.slot, stage.cards.cards, stage.cards.rows, {})
    return [*views[:-1], *active_views(stage.index, looking, without, here, stage.found)[-1:]]


def _chosen(stage: Stage) -> list[SelectedFeatureView]:
    """One that fires, and one that is silent."""
    found = [
        selected_feature(stage.index, stage.looking.choosing(feature), stage.cards, stage.found, stage.size)
        for feature in (stage.features[0], stage.features[-1])
    ]
    return [each.view for each in found if each is not None]


def _explained(stage: Stage) -> list[ExplainedView]:
    whole = explained_view(stage.found, summarize(stage.found, Selection(ANY, None)), stage.size)
    return [whole, ExplainedView(None, whole.mse, whole.l0, None)]


def _group(features: Sequence[int], share: float) -> Group:
    masses = np.linspace(9, 1, len(features))
    return Group(np.asarray(features, dtype=np.int64), masses, share)


def _groups(stage: Stage) -> list[GroupView]:
    made = [_group(stage.features, 0.6), _group(stage.features[1:2], 0.4)]
    names = group_names(made, stage.cards.cards, stage.layer)
    chooses = [
        Link("heat", URLS.patterns(), True, "hide the heatmap"),
        Link("heat", URLS.patterns(), title="show its heatmap"),
    ]
    return [
        group_view(stage.index, stage.at, number, group, names, stage.cards, stage.found, choose, ANY)
        for number, (group, names, choose) in enumerate(zip(made, names, chooses, strict=True), start=1)
    ]


def _columns(stage: Stage) -> list[LayerColumn]:
    """The same layer twice, as if it were two."""
    here = {active.feature: active for active in summarize(stage.found, Selection(ANY, None)).features}
    pairs = [stage.features[at : at + 2] for at in (0, 2, 4)]
    groups = [
        HeavyGroup([name], share, 9.0, 5, [here[at] for at in pair if at in here])
        for name, share, pair in zip(
            ("red heart", "night", "a long secondary name"), _SHARES, pairs, strict=True
        )
    ]
    one, two, three, four = stage.features[:4]
    links = [
        FeatureLink("decoder", one, two, 0.9),
        FeatureLink("cofiring", one, two, 0.4),
        FeatureLink("decoder", three, one, 0.3),
        FeatureLink("cofiring", two, four, 0.7),
    ]
    whole = LayerColumn(stage.layer, stage.cards, 24, 5, 0.93, groups, links)
    return [whole, LayerColumn(stage.layer, stage.cards, 12, 3, None, groups, [])]


def _edits(stage: Stage) -> list[EditView]:
    one, several = tuple(stage.features[:1]), tuple(stage.features[1:5])
    unknown = (stage.index.n_features(stage.layer) - 1,)
    edits = (Edit(one, "set", 0.0), Edit(several, "scale", 0.5), Edit(unknown, "set", 4.5))
    state = KnobsState(stage.at, stage.layer, Selection(ANY, None), edits)
    views = [edit_view(stage.index, state, stage.cards, edit, 9.5) for edit in edits]
    return [replace(view, undo=URLS.patterns()) for view in views]


def _group_offers(stage: Stage) -> list[OfferView]:
    return [group_offer(_unedited(stage), "red heart", stage.features[:4], 0.6)]


def _feature_offers(stage: Stage) -> list[OfferView]:
    return [
        feature_offer(stage.index, _unedited(stage), stage.cards, ActiveFeature(feature, 9.5, None), 0.2)
        for feature in stage.features[:3]
    ]


def _unedited(stage: Stage) -> KnobsState:
    return KnobsState(stage.at, stage.layer, Selection(ANY, None))


def _prompts() -> list[PromptView]:
    return [
        PromptView("a red heart", 0.92, 0.08, "down"),
        PromptView("a red star", 0.05, 0.89, "up"),
        PromptView("something else, in more words than fit on one line of a phone", 0.03, 0.03, "same"),
        PromptView("hardly anything", 0.00001, 0.00002, "same"),
    ]


def _near(stage: Stage, *, alone: bool) -> list[NearestImageView]:
    """Every other one is new where there are new ones."""
    return [
        NearestImageView(picture_of(stage.index, row), 0.9 - at / 50, alone and at % 2 == 1)
        for at, row in enumerate(stage.rows)
    ]


def _likes(stage: Stage) -> list[SimilarView]:
    captions = ("in both lists (outlined)", "in one list", "")
    here = URLS.patterns()
    return [
        SimilarView(row.image_id, picture_of(stage.index, row), caption, 0.9 - at / 20, at == 0, here)
        for at, (row, caption) in enumerate(zip(stage.rows, captions, strict=False))
    ]


def _sides(stage: Stage) -> list[SidesView]:
    found = [
        view_of(stage.index, stage.at, stage.cards, feature, ActiveFeature(feature, 9.5 - at, None))
        for at, feature in enumerate(stage.features)
    ]
    both = [BothView(found[0], 4.2), BothView(found[1], 3.1)]
    name, token = layer_name(stage.layer), token_name(stage.cards.slot.token)
    return [
        SidesView(name, token, URLS.patterns(), 0.4, 2, 3, 1, both, found[2:5], found[5:]),
        SidesView(name, token, None, 0.0, 0, 0, 0, [], [], []),
    ]


def _kept() -> list[KeptState]:
    expires_s, day = 1_800_000_000.0, round(EXTENDED_TTL_S / 86400)
    here = another = URLS.patterns()
    return [
        KeptState(
            "for its sender",
            KeptView(expires_s, here, day, here, here, outdated=False, another=another),
        ),
        KeptState(
            "for its sender, kept longer",
            KeptView(expires_s, None, day, here, here, outdated=False, another=another),
        ),
        KeptState(
            "for all others", KeptView(expires_s, None, day, None, None, outdated=False, another=another)
        ),
    ]
