"""Runs one search: embeds the query, then retrieves features and images."""

from dataclasses import replace
from typing import NamedTuple

import numpy as np
from starlette.concurrency import run_in_threadpool

from app.engine.fair_share import FairLimiter
from app.engine.text_encoders import EmbeddedText
from app.engine.worker import EncodeRequest
from app.params.query_text import feature_ref_in
from app.params.search_params import SearchQuery
from app.services.images import uploaded_image
from app.services.model_requests import decompose, vectors_of
from app.services.retrieval import (
    NameMatches,
    SearchResults,
    Vector,
    by_name,
    by_number,
    features_near,
    firing_slot,
    has_vectors,
    images_near,
    is_weak,
)
from app.state import AppState, OpenIndex
from scopeview.slots import Slot

NOT_DESCRIBED = "this index has no feature vectors ('scopeview describe' adds them)"


class Target(NamedTuple):
    """The one feature that a query names."""

    slot: Slot
    feature: int


def target_of(index: OpenIndex, query: SearchQuery) -> Target | None:
    """Returns the feature whose number the query is, in one layer; None for any other query.

    The feature is taken at the query's token, or at one where it fires if it does not fire there.
    """
    ref = feature_ref_in(query.text)
    if ref is None:
        return None
    layer = ref.layer if ref.layer is not None else query.near if query.layer is None else query.layer
    if layer is None or not ref.feature < index.n_features(layer):
        return None
    return Target(firing_slot(index, index.slot_at(layer, query.token), ref.feature), ref.feature)


async def run_search(
    site: AppState, index: OpenIndex, query: SearchQuery, decoding: FairLimiter
) -> SearchResults:
    """Searches by name and number always, and by similarity where both sides have vectors.

    Raises `NotFoundError` for a missing image or upload, and a 503 if the model is busy.
    """
    if query.is_empty:
        return SearchResults()
    vector = None if feature_ref_in(query.text) else await _vector(site, index, query, decoding)
    return await run_in_threadpool(_find, index, query, vector)


async def _vector(
    site: AppState, index: OpenIndex, query: SearchQuery, decoding: FairLimiter
) -> EmbeddedText | Vector | str:
    """Returns the query in CLIP's space, or in words why it has no place there."""
    if query.upload_id is not None:
        return await _vector_of_upload(site, index, query.upload_id, decoding)
    if query.image_id is not None:
        return await run_in_threadpool(_vector_of_image, index, query.image_id)
    (vector,) = await vectors_of(site, index, [query.text])
    return vector


def _vector_of_image(index: OpenIndex, image_id: int) -> Vector:
    index.reader.refuse_blocked(image_id)
    return index.reader.embedding(image_id).astype(np.float32)


async def _vector_of_upload(
    site: AppState, index: OpenIndex, upload_id: str, decoding: FairLimiter
) -> Vector:
    image = await run_in_threadpool(uploaded_image, site, index, upload_id)
    (decomposition,) = await decompose(site, index, [image], EncodeRequest((), embedding=True), decoding)
    assert decomposition.embedding is not None, "it was requested"
    return decomposition.embedding


def _find(
    index: OpenIndex, query: SearchQuery, embedded: EmbeddedText | Vector | str | None
) -> SearchResults:
    vector = embedded.vector if isinstance(embedded, EmbeddedText) else embedded
    slots, ref = index.slots_at(query.token, query.layer), feature_ref_in(query.text)
    matches = by_name(index, slots, query.text) if query.text and not ref else NameMatches([], [])
    found = SearchResults(
        numbered=by_number(index, slots, ref) if ref else [],
        named=matches.named,
        also_named=matches.also_named,
        why_not=vector if isinstance(vector, str) else None,
    )
    if vector is None or isinstance(vector, str):
        return found
    features = features_near(index, slots, vector, "text" if query.text else "image")
    return replace(
        found,
        features=features,
        images=images_near(index, vector, without=query.image_id),
        why_not=None if has_vectors(index, slots) else NOT_DESCRIBED,
        unknown_words=embedded.unknown_words if isinstance(embedded, EmbeddedText) else [],
        is_weak=bool(query.text) and is_weak(index, features),
    )
