"""Pictures taken apart to the shapes of `/api/v1`. What is worked out here is plain NumPy."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from app.api import apart_models as models
from app.inference.encoders import Encoder, Vectors
from app.inference.subjects import Subject
from app.inference.turning import Prompts
from app.search.finding import FoundImage, images_near
from app.site import OpenIndex
from app.urls import Urls
from scopeview.apart import LayerApart, Peaks
from scopeview.heatmap import heats, mass_heat
from scopeview.knobs import Knobs, Turned, cosine, spell_edit
from scopeview.selection import Here, Selection, finite_or_none, groups_here
from scopeview.slots import Layer

N_NEAREST = 9


def apart_out(
    place: dict[str, Any], index: OpenIndex, layer: Layer, found: LayerApart, here: Here, urls: Urls
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


def heat_out(place: dict[str, Any], found: LayerApart, features: Sequence[int]) -> models.PictureHeatOut:
    alone = len(features) == 1
    cls, *patches = (heats(found, features)[0] if alone else mass_heat(found, features)).tolist()
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
    encoder: Encoder,
    layer: Layer,
    found: LayerApart,
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
    knobs: Knobs,
    turned: Turned,
    prompts: Prompts,
    urls: Urls,
) -> models.KnobsOut:
    before, after = (
        [_near(index, image, urls) for image in _nearest(index, subject, embedding)] for embedding in turned
    )
    return models.KnobsOut(
        **place,
        edits=[spell_edit(edit) for edit in knobs.edits],
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
