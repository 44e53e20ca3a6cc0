"""Components of the pages about one image, each in its states, for the style guide.

The same functions make the same views. The image and the features are the index's own; the activations are
made up.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from app.formatting import layer_name, token_name
from app.pages.cards import ImageView, image_view
from app.pages.image.activations import grid_view
from app.pages.image.active_features import ActiveView, active_views, view_of
from app.pages.image.compare import OverlapView, SharedView
from app.pages.image.flow_svg import WIDTH_PX
from app.pages.image.group_views import GroupView, group_view
from app.pages.image.header import RetentionView
from app.pages.image.layers import ColumnView, column_views, height_of
from app.pages.image.patch_grid import GridView
from app.pages.image.reconstruction import ExplainedView, explained_view
from app.pages.image.selected_feature import SelectedFeatureView, selected_feature
from app.pages.image.similar import SimilarView
from app.pages.image.steering import EditOption, FeatureEditView, edit_view, feature_option, group_option
from app.pages.image.steering_effect import NearestImageView, PromptView
from app.pages.image.steering_state import SteeringState
from app.pages.image.view_state import ViewState
from app.pages.layout import Link
from app.services.feature_cards import FeatureCards, described_slot, read_cards
from app.services.groups import group_names
from app.services.layer_flow import FeatureLink, HeavyGroup, LayerColumn
from app.state import OpenIndex
from app.uploads.store import EXTENDED_TTL_S
from app.urls import URLS, ImageAddress
from scopeview.analysis.decomposition import LayerDecomposition
from scopeview.analysis.feature_edits import Edit
from scopeview.analysis.grouping import Group
from scopeview.analysis.token_selection import Selection, format_positions, summarize
from scopeview.slots import ANY, EMBED, Layer
from scopeview.store.records import ActiveFeature, ImageRow

_SHARES = (0.5, 0.3, 0.2)


N_FEATURES = 6


@dataclass(frozen=True)
class SampleImage:
    """The image and features used as samples."""

    index: OpenIndex
    at: ImageAddress
    rows: Sequence[ImageRow]
    cards: FeatureCards
    features: list[int]
    found: LayerDecomposition

    @property
    def layer(self) -> Layer:
        return self.cards.slot.layer

    @property
    def size(self) -> int:
        return self.index.manifest.model.grid_size

    @property
    def view(self) -> ViewState:
        return ViewState(self.at, self.layer, Selection(ANY, None))


def read_sample_image(index: OpenIndex) -> SampleImage | None:
    """Samples from the deepest block with enough features; None if there is none, or no image."""
    rows = index.reader.images(limit=6)
    for layer in reversed(index.blocks):
        slot = described_slot(index, layer, Selection(ANY, None))
        found = index.reader.gallery(slot, min_images=1, sort="density", limit=N_FEATURES).cards
        if rows and len(found) == N_FEATURES:
            features = [card.feature for card in found]
            highest = [card.max_activation or 1.0 for card in found]
            decomposition = synthetic_decomposition(features, highest, index.manifest.model.grid_size)
            at = ImageAddress(index.slug, rows[0].image_id)
            return SampleImage(index, at, rows, read_cards(index, slot, features), features, decomposition)
    return None


def synthetic_decomposition(
    features: Sequence[int], highest: Sequence[float], size: int
) -> LayerDecomposition:
    """Makes each feature but the last active at a place of its own, a little below its top, and at CLS."""
    rows, columns = (each.ravel() for each in np.indices((size, size)) / size)
    values = np.zeros((size * size + 1, len(features)), dtype=np.float32)
    for number in range(len(features) - 1):
        x, y = 0.3 + 0.1 * number, 0.7 - 0.12 * number
        far = (columns - x) ** 2 + (rows - y) ** 2
        values[1:, number] = highest[number] * np.maximum(0, 0.95 - 0.15 * number - 14 * far)
        values[0, number] = highest[number] / 4
    order = np.argsort(-values, axis=1, kind="stable")
    left = np.concatenate([[0.2], (rows - 0.5) ** 2 + columns**2]).astype(np.float32)
    return LayerDecomposition(
        k=len(features),
        features=np.asarray(features, dtype=np.int32)[order],
        values=np.take_along_axis(values, order, axis=1),
        norms=np.ones_like(values),
        explained_variance=(1 - left / 2).astype(np.float32),
        mse=20 * left,
    )


@dataclass(frozen=True)
class GridState:
    """A patch grid in one state."""

    words: str
    grid: GridView


@dataclass(frozen=True)
class RetentionState:
    words: str
    kept: RetentionView


@dataclass(frozen=True)
class ImageSamples:
    """All components of the pages about one image."""

    image: ImageView
    grids: list[GridState]
    actives: list[ActiveView]
    chosen: list[SelectedFeatureView]
    explained: list[ExplainedView]
    size: int  # patches on a side
    groups: list[GroupView]
    columns: list[ColumnView]
    width_px: int
    height_px: int
    edits: list[FeatureEditView]
    group_options: list[EditOption]
    feature_options: list[EditOption]
    prompts: list[PromptView]
    before: list[NearestImageView]
    after: list[NearestImageView]
    similar: list[SimilarView]
    sides: list[OverlapView]
    kept: list[RetentionState]


def image_samples(index: OpenIndex) -> ImageSamples | None:
    """Returns the samples; None if the index has no block with enough features that fire, or no image."""
    sample = read_sample_image(index)
    if sample is None:
        return None
    columns = _columns(sample)
    return ImageSamples(
        image=image_view(index, sample.rows[0]),
        grids=_grids(sample),
        actives=_actives(sample),
        chosen=_chosen(sample),
        explained=_explained(sample),
        size=sample.size,
        groups=_groups(sample),
        columns=column_views(index, sample.at, columns, ANY),
        width_px=WIDTH_PX,
        height_px=height_of(columns),
        edits=_edits(sample),
        group_options=_group_offers(sample),
        feature_options=_feature_offers(sample),
        prompts=_prompts(),
        before=_near(sample, alone=False),
        after=_near(sample, alone=True),
        similar=_similar(sample),
        sides=_sides(sample),
        kept=_kept(),
    )


def _grids(sample: SampleImage) -> list[GridState]:
    index, view = sample.index, sample.view
    middle = sample.size // 2 * (sample.size + 1) + 1
    some = tuple(at for at in (middle, middle + 1, middle + sample.size) if at <= sample.size**2)
    chosen = selected_feature(
        index, view.with_feature(sample.features[0]), sample.cards, sample.found, sample.size
    )
    selected = ViewState(sample.at, sample.layer, Selection(format_positions(some), some))
    at_cls = ViewState(sample.at, sample.layer, Selection("cls", (0,)))
    states = [
        GridState("the whole image", grid_view(index, view, None)),
        GridState("some patches", grid_view(index, selected, None)),
        GridState("with the heatmap of a feature", grid_view(index, view, chosen.heat if chosen else None)),
        GridState("CLS", grid_view(index, at_cls, None)),
    ]
    if EMBED in index.layers:
        whole = ViewState(sample.at, EMBED, Selection(ANY, None))
        states.append(GridState("a layer without patches", grid_view(index, whole, None)))
    return states


def _actives(sample: SampleImage) -> list[ActiveView]:
    """Returns active features: the first is chosen; the last has no histogram, as if it never fired."""
    view = sample.view.with_feature(sample.features[0])
    here = summarize(sample.found, view.selection)
    views = active_views(sample.index, view, sample.cards, here, sample.found)
    without = FeatureCards(sample.cards.slot, sample.cards.cards, sample.cards.rows, {})
    return [*views[:-1], *active_views(sample.index, view, without, here, sample.found)[-1:]]


def _chosen(sample: SampleImage) -> list[SelectedFeatureView]:
    """Returns a feature that fires, and one that does not fire."""
    found = [
        selected_feature(
            sample.index, sample.view.with_feature(feature), sample.cards, sample.found, sample.size
        )
        for feature in (sample.features[0], sample.features[-1])
    ]
    return [each.view for each in found if each is not None]


def _explained(sample: SampleImage) -> list[ExplainedView]:
    whole = explained_view(sample.found, summarize(sample.found, Selection(ANY, None)), sample.size)
    return [whole, ExplainedView(None, whole.mse, whole.l0, None)]


def _group(features: Sequence[int], share: float) -> Group:
    masses = np.linspace(9, 1, len(features))
    return Group(np.asarray(features, dtype=np.int64), masses, share)


def _groups(sample: SampleImage) -> list[GroupView]:
    groups = [_group(sample.features, 0.6), _group(sample.features[1:2], 0.4)]
    names = group_names(groups, sample.cards.cards, sample.layer)
    chooses = [
        Link("heat", URLS.patterns(), True, "hide the heatmap"),
        Link("heat", URLS.patterns(), title="show its heatmap"),
    ]
    return [
        group_view(sample.index, sample.at, number, group, names, sample.cards, sample.found, choose, ANY)
        for number, (group, names, choose) in enumerate(zip(groups, names, chooses, strict=True), start=1)
    ]


def _columns(sample: SampleImage) -> list[LayerColumn]:
    """Returns the same layer twice, as if it were two."""
    here = {active.feature: active for active in summarize(sample.found, Selection(ANY, None)).features}
    pairs = [sample.features[at : at + 2] for at in (0, 2, 4)]
    groups = [
        HeavyGroup([name], share, 9.0, 5, [here[at] for at in pair if at in here])
        for name, share, pair in zip(
            ("red heart", "night", "a long secondary name"), _SHARES, pairs, strict=True
        )
    ]
    one, two, three, four = sample.features[:4]
    links = [
        FeatureLink("decoder", one, two, 0.9),
        FeatureLink("cofiring", one, two, 0.4),
        FeatureLink("decoder", three, one, 0.3),
        FeatureLink("cofiring", two, four, 0.7),
    ]
    whole = LayerColumn(sample.layer, sample.cards, 24, 5, 0.93, groups, links)
    return [whole, LayerColumn(sample.layer, sample.cards, 12, 3, None, groups, [])]


def _edits(sample: SampleImage) -> list[FeatureEditView]:
    one, several = tuple(sample.features[:1]), tuple(sample.features[1:5])
    unknown = (sample.index.n_features(sample.layer) - 1,)
    edits = (Edit(one, "set", 0.0), Edit(several, "scale", 0.5), Edit(unknown, "set", 4.5))
    state = SteeringState(sample.at, sample.layer, Selection(ANY, None), edits)
    views = [edit_view(sample.index, state, sample.cards, edit, 9.5) for edit in edits]
    return [replace(each, undo=URLS.patterns()) for each in views]


def _group_offers(sample: SampleImage) -> list[EditOption]:
    return [group_option(_unedited(sample), "red heart", sample.features[:4], 0.6)]


def _feature_offers(sample: SampleImage) -> list[EditOption]:
    return [
        feature_option(sample.index, _unedited(sample), sample.cards, ActiveFeature(feature, 9.5, None), 0.2)
        for feature in sample.features[:3]
    ]


def _unedited(sample: SampleImage) -> SteeringState:
    return SteeringState(sample.at, sample.layer, Selection(ANY, None))


def _prompts() -> list[PromptView]:
    return [
        PromptView("a red heart", 0.92, 0.08, "down"),
        PromptView("a red star", 0.05, 0.89, "up"),
        PromptView("something else, in more words than fit on one line of a phone", 0.03, 0.03, "same"),
        PromptView("hardly anything", 0.00001, 0.00002, "same"),
    ]


def _near(sample: SampleImage, *, alone: bool) -> list[NearestImageView]:
    """Returns nearest images; `alone` marks every other one as new."""
    return [
        NearestImageView(image_view(sample.index, row), 0.9 - at / 50, alone and at % 2 == 1)
        for at, row in enumerate(sample.rows)
    ]


def _similar(sample: SampleImage) -> list[SimilarView]:
    captions = ("in both lists (outlined)", "in one list", "")
    here = URLS.patterns()
    return [
        SimilarView(row.image_id, image_view(sample.index, row), caption, 0.9 - at / 20, at == 0, here)
        for at, (row, caption) in enumerate(zip(sample.rows, captions, strict=False))
    ]


def _sides(sample: SampleImage) -> list[OverlapView]:
    found = [
        view_of(sample.index, sample.at, sample.cards, feature, ActiveFeature(feature, 9.5 - at, None))
        for at, feature in enumerate(sample.features)
    ]
    both = [SharedView(found[0], 4.2), SharedView(found[1], 3.1)]
    name, token = layer_name(sample.layer), token_name(sample.cards.slot.token)
    return [
        OverlapView(name, token, URLS.patterns(), 0.4, 2, 3, 1, both, found[2:5], found[5:]),
        OverlapView(name, token, None, 0.0, 0, 0, 0, [], [], []),
    ]


def _kept() -> list[RetentionState]:
    expires_s, day = 1_800_000_000.0, round(EXTENDED_TTL_S / 86400)
    here = another = URLS.patterns()
    return [
        RetentionState(
            "for its sender",
            RetentionView(expires_s, here, day, here, here, outdated=False, clipped=False, another=another),
        ),
        RetentionState(
            "for its sender, kept longer",
            RetentionView(expires_s, None, day, here, here, outdated=False, clipped=False, another=another),
        ),
        RetentionState(
            "for all others",
            RetentionView(expires_s, None, day, None, None, outdated=False, clipped=False, another=another),
        ),
    ]
