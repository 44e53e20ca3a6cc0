"""Pictures taken apart to the shapes of `/api/v1`. What is worked out here is plain NumPy."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from app.api.schemas import image as models
from app.engine.encoders import EncoderProtocol, Vectors
from app.services.images import Subject
from app.services.retrieval import FoundImage, images_near
from app.services.steering import PromptEmbeddings
from app.state import OpenIndex
from app.urls import Urls
from scopeview.analysis.decomposition import LayerDecomposition, Peaks
from scopeview.analysis.feature_edits import FeatureEdits, SteeredEmbeddings, cosine, format_edit
from scopeview.analysis.heatmap import feature_heatmaps, mass_heat
from scopeview.analysis.token_selection import Selection, SelectionSummary, finite_or_none, groups_here
from scopeview.slots import Layer

N_NEAREST = 9


def apart_out(
    place: dict[str, Any],
    index: OpenIndex,
    layer: Layer,
    found: LayerDecomposition,
    here: SelectionSummary,
    urls: Urls,
) -> models.ApartOut:
    token = index.tokens(layer)[0]
    listed = [
        models.ActiveHereOut(**active._asdict(), url=urls.feature(index.slug, layer, active.feature, token))
        for active in here.features
    ]
    n_first = here.n_stored or len(listed)
    return models.ApartOut(
        **place,
        n_tokens=here.n_tokens,
        n_active=here.n_active,
        mass=here.mass,
        features=listed[:n_first],
        activations="approximate" if here.n_stored == 0 and listed else "stored",
        approximate_features=listed[n_first:],
        explained=models.FiguresHereOut(explained_variance=here.explained_variance, mse=here.mse, l0=here.l0),
        residual=models.ResidualOut(
            explained_variance=[finite_or_none(value) for value in found.explained_variance.tolist()],
            mse=[finite_or_none(value) for value in found.mse.tolist()],
            l0=found.l0.tolist(),
        ),
    )


def heat_out(
    place: dict[str, Any], found: LayerDecomposition, features: Sequence[int]
) -> models.PictureHeatOut:
    alone = len(features) == 1
    cls, *patches = (feature_heatmaps(found, features)[0] if alone else mass_heat(found, features)).tolist()
    return models.PictureHeatOut(
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
) -> models.GroupsOut:
    peaks = Peaks(found, selection.positions)
    directions = encoder.directions(layer, peaks.features.tolist())
    groups = groups_here(found, selection, directions, threshold=threshold)
    return models.GroupsOut(
        **place,
        threshold=threshold,
        groups=[
            models.GroupOut(
                share=group.share,
                mass=float(group.masses.sum()),
                features=group.features.tolist(),
                masses=group.masses.tolist(),
            )
            for group in groups
        ],
    )


def knobs_out(
    place: dict[str, Any],
    index: OpenIndex,
    subject: Subject,
    knobs: FeatureEdits,
    turned: SteeredEmbeddings,
    prompts: PromptEmbeddings,
    urls: Urls,
) -> models.KnobsOut:
    before, after = (
        [_near(index, image, urls) for image in _nearest(index, subject, embedding)] for embedding in turned
    )
    return models.KnobsOut(
        **place,
        edits=[format_edit(edit) for edit in knobs.edits],
        cosine=cosine(turned.before, turned.after),
        prompts=[models.PromptOut(**asdict(change)) for change in prompts.changes(turned)],
        unknown_words=list(prompts.unknown_words),
        why_no_prompts=prompts.why_not,
        nearest_before=before,
        nearest_after=after,
    )


def _nearest(index: OpenIndex, subject: Subject, embedding: Vectors) -> list[FoundImage]:
    return images_near(index, embedding, limit=N_NEAREST, without=subject.image_id)


def _near(index: OpenIndex, image: FoundImage, urls: Urls) -> models.NearImageOut:
    image_id = image.row.image_id
    return models.NearImageOut(
        image_id=image_id,
        cosine=image.score,
        url=urls.image(index.slug, image_id),
        thumb_url=urls.thumb(index.slug, image_id, index.version),
    )
