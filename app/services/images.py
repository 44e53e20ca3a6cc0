"""Pictures that can be taken apart again and again, indexed images and uploads: for JSON and pages alike."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Annotated

import anyio
import numpy as np
from fastapi import Depends, Path

from app.engine.encoders import EncoderProtocol
from app.engine.fair_share import FairLimiter
from app.engine.worker import EncodeRequest
from app.params.common import ImagePath, IndexDep, SiteDep
from app.services.model_requests import Picture, decompose, indexed_picture, kept_square
from app.state import AppState, OpenIndex
from app.uploads.store import Upload
from scopeview.analysis.decomposition import LayerDecomposition, StoredPeaks, StoredValues
from scopeview.slots import ANY, Layer, Slot, token_number
from scopeview.store.records import Code, ImageRecord

UploadPath = Annotated[str, Path(description="upload id, from the response to the upload")]


@dataclass(frozen=True)
class Subject:
    """One of the two numbers is None. `codes` are the picture's own as they were kept, maybe none."""

    picture: Picture
    codes: Sequence[Code]
    image_id: int | None = None
    upload_id: str | None = None


def image_subject(index: IndexDep, image_id: ImagePath) -> Subject:
    """Raises `NotFoundError`, and a 410 for an image that the operator removed."""
    return subject_of_image(index, index.reader.image(image_id))


def upload_subject(site: SiteDep, index: IndexDep, upload_id: UploadPath) -> Subject:
    """Raises `NotFoundError`, and a 410 for an upload that is no more."""
    return subject_of_upload(site, index, site.uploads.get(index.slug, upload_id))


def subject_of_image(index: OpenIndex, record: ImageRecord) -> Subject:
    image_id = record.row.image_id
    return Subject(indexed_picture(index, image_id), record.codes, image_id=image_id)


def subject_of_upload(site: AppState, index: OpenIndex, upload: Upload) -> Subject:
    """Without codes where the index was rebuilt since."""
    codes = upload.codes if upload.version == index.version else []
    return Subject(upload_picture(site, upload), codes, upload_id=upload.upload_id)


ImageSubject = Annotated[Subject, Depends(image_subject)]
UploadSubject = Annotated[Subject, Depends(upload_subject)]


def upload_picture(site: AppState, upload: Upload) -> Picture:
    """What the worker remembers from the upload itself is found again."""
    key = upload.crop_sha256 or f"upload/{upload.upload_id}"
    return Picture(key, lambda: kept_square(site.uploads.picture(upload.index, upload.upload_id)))


async def layer_of(
    site: AppState,
    index: OpenIndex,
    subject: Subject,
    layer: Layer,
    decoding: FairLimiter,
    features: Sequence[int] = (),
) -> LayerDecomposition:
    """The picture at one layer, with every value that was stored of it in its place.

    An indexed image is computed again from the index's lossy thumbnail, so its other values are approximate;
    `LayerApart.stored` says which ones are not. Of `features` the maximum over all tokens is looked up too.
    """
    found = await layers_of(site, index, subject, [layer], decoding, features)
    return found[layer]


async def layers_of(
    site: AppState,
    index: OpenIndex,
    subject: Subject,
    layers: Sequence[Layer],
    decoding: FairLimiter,
    features: Sequence[int] = (),
) -> dict[Layer, LayerDecomposition]:
    """As `layer_of`, in one forward pass for all of them."""
    found = await computed_layers(site, index, subject, layers, decoding)
    return await anyio.to_thread.run_sync(_with_stored, site, index, subject, found, features)


async def computed_layers(
    site: AppState, index: OpenIndex, subject: Subject, layers: Sequence[Layer], decoding: FairLimiter
) -> dict[Layer, LayerDecomposition]:
    """What the model makes of the picture that is kept, whatever was stored of it: the base of an edit."""
    (apart,) = await decompose(site, index, [subject.picture], EncodeRequest(tuple(layers)), decoding)
    return {layer: apart.layers[layer] for layer in layers}  # more of them may be remembered


def _with_stored(
    site: AppState,
    index: OpenIndex,
    subject: Subject,
    found: Mapping[Layer, LayerDecomposition],
    features: Sequence[int],
) -> dict[Layer, LayerDecomposition]:
    encoder = site.worker.encoder(index.reader.index_dir)
    result = {}
    for layer, each in found.items():
        codes = [code for code in subject.codes if code.layer == layer]
        with_peaks = _with_peaks(index, encoder, subject.image_id, layer, each, codes, features)
        result[layer] = _with_codes(encoder, layer, with_peaks, codes)
    return result


def _with_codes(
    encoder: EncoderProtocol, layer: Layer, found: LayerDecomposition, codes: Sequence[Code]
) -> LayerDecomposition:
    """With the codes of single tokens, which were made in another batch."""
    for code in codes:
        token = token_number(code.token)
        if token is not None:
            features = [pair.feature for pair in code.features]
            values = np.array([pair.activation for pair in code.features], np.float32)
            norms = encoder.norms(layer, features)
            found = found.with_code(token, np.array(features, np.int32), values, norms)
    return found


def _with_peaks(
    index: OpenIndex,
    encoder: EncoderProtocol,
    image_id: int | None,
    layer: Layer,
    found: LayerDecomposition,
    codes: Sequence[Code],
    features: Sequence[int],
) -> LayerDecomposition:
    """With the maxima over all tokens. An upload is kept without loss and has the same ones already."""
    if image_id is None:
        return found
    tokens = frozenset(token for code in codes if (token := token_number(code.token)) is not None)
    listed = next((code for code in codes if code.token == ANY), None)
    if listed is None:
        return replace(found, stored=StoredValues(tokens, frozenset(), None))
    code = index.reader.whole_code(image_id, Slot(layer, ANY)) or listed
    peaks = _peaks(index, image_id, code, features)
    numbers = list(peaks)
    columns = StoredPeaks(
        features=np.array(numbers, np.int32),
        values=np.array([value for value, _ in peaks.values()], np.float32),
        positions=np.array([position for _, position in peaks.values()], np.int64),
        norms=encoder.norms(layer, numbers),
        bound=_bound(code),
    )
    stored = StoredValues(tokens, frozenset(numbers), code.n_active)
    return replace(found.with_peaks(columns), stored=stored)


def _peaks(
    index: OpenIndex, image_id: int, code: Code, features: Sequence[int]
) -> dict[int, tuple[float, int]]:
    """By feature the maximum over all tokens and its place: the strongest, and those asked for besides."""
    peaks = {
        pair.feature: (pair.activation, pair.position or 0) for pair in code.features if pair.activation > 0
    }
    others = [feature for feature in features if feature not in peaks]
    if others and len(peaks) < code.n_active:  # else they fire nowhere
        known = index.reader.activations_on(Slot(code.layer, ANY), others, [image_id])
        for feature in others:
            found = known.get((feature, image_id))
            peaks[feature] = (found.activation, found.position or 0) if found else (0.0, 0)
    return peaks


def _bound(code: Code) -> float:
    """What features that a code at `any` does not list may reach: its lowest; 0 where it lists all."""
    firing = [pair.activation for pair in code.features if pair.activation > 0]
    return 0.0 if code.n_active <= len(firing) else min(firing, default=0.0)
