"""Decomposed images to JSON schemas."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from app.api.schemas.image_view import (
    ActivationsOut,
    ActiveFeatureHereOut,
    GroupOut,
    GroupsOut,
    ImageHeatmapOut,
    NearImageOut,
    PromptOut,
    ReconstructionOut,
    ResidualOut,
    SteeringOut,
)
from app.engine.encoders import EncoderProtocol
from app.services.groups import group_features
from app.services.steering import PromptEmbeddings, nearest_images
from app.state import OpenIndex
from app.urls import Urls
from scopeview.analysis.decomposition import LayerDecomposition
from scopeview.analysis.feature_edits import FeatureEdits, SteeredEmbeddings, cosine, format_edit
from scopeview.analysis.heatmap import feature_heatmaps, mass_heat
from scopeview.analysis.token_selection import Selection, SelectionSummary, finite_or_none
from scopeview.slots import Layer
from scopeview.store.records import ImageRow


def activations_out(
    place: dict[str, Any],
    index: OpenIndex,
    layer: Layer,
    found: LayerDecomposition,
    here: SelectionSummary,
    urls: Urls,
) -> ActivationsOut:
    token = index.tokens(layer)[0]
    listed = [
        ActiveFeatureHereOut(**active._asdict(), url=urls.feature(index.slug, layer, active.feature, token))
        for active in here.features
    ]
    n_first = here.n_stored or len(listed)
    return ActivationsOut(
        **place,
        n_tokens=here.n_tokens,
        n_active=here.n_active,
        mass=here.mass,
        features=listed[:n_first],
        activations="approximate" if here.n_stored == 0 and listed else "stored",
        approximate_features=listed[n_first:],
        explained=ReconstructionOut(explained_variance=here.explained_variance, mse=here.mse, l0=here.l0),
        residual=ResidualOut(
            explained_variance=[finite_or_none(value) for value in found.explained_variance.tolist()],
            mse=[finite_or_none(value) for value in found.mse.tolist()],
            l0=found.l0.tolist(),
        ),
    )


def heatmap_out(place: dict[str, Any], found: LayerDecomposition, features: Sequence[int]) -> ImageHeatmapOut:
    alone = len(features) == 1
    cls, *patches = (feature_heatmaps(found, features)[0] if alone else mass_heat(found, features)).tolist()
    return ImageHeatmapOut(
        **place,
        features=list(features),
        unit="activation" if alone else "mass",
        cls=cls,
        patches=patches,
        max=max([cls, *patches]),
    )


def groups_out(
    place: dict[str, Any],
    encoder: EncoderProtocol,
    layer: Layer,
    found: LayerDecomposition,
    selection: Selection,
    threshold: float,
) -> GroupsOut:
    groups = group_features(encoder, layer, found, selection, threshold)
    return GroupsOut(
        **place,
        threshold=threshold,
        groups=[
            GroupOut(
                share=group.share,
                mass=float(group.masses.sum()),
                features=group.features.tolist(),
                masses=group.masses.tolist(),
            )
            for group in groups
        ],
    )


def steering_out(
    place: dict[str, Any],
    index: OpenIndex,
    edits: FeatureEdits,
    steered: SteeredEmbeddings,
    prompts: PromptEmbeddings,
    urls: Urls,
) -> SteeringOut:
    before, after = nearest_images(index, steered, place["image_id"])
    return SteeringOut(
        **place,
        edits=[format_edit(edit) for edit in edits.edits],
        cosine=cosine(steered.before, steered.after),
        prompts=[PromptOut(**asdict(change)) for change in prompts.changes(steered)],
        unknown_words=list(prompts.unknown_words),
        why_no_prompts=prompts.why_not,
        nearest_before=[near_image(index, each.row, each.score, urls) for each in before],
        nearest_after=[near_image(index, each.row, each.score, urls) for each in after],
    )


def near_image(index: OpenIndex, row: ImageRow, cosine: float, urls: Urls) -> NearImageOut:
    return NearImageOut(
        image_id=row.image_id,
        cosine=cosine,
        url=urls.image(index.slug, row.image_id),
        thumb_url=urls.thumb(index.slug, row.image_id, index.version),
    )
