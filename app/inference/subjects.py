"""Pictures that can be taken apart again and again, indexed images and uploads: for JSON and pages alike."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated

import anyio
import numpy as np
from fastapi import Depends, Path

from app.inference.asking import Picture, indexed_picture, kept_square, take_apart
from app.params import ImagePath, IndexDep, SiteDep
from app.site import OpenIndex, Site
from app.upload.store import Upload
from app.worker import Wanted
from scopeview.apart import LayerApart
from scopeview.slots import Layer, token_number
from scopeview.store.records import Code, ImageRecord

UploadPath = Annotated[str, Path(description="from the answer to the upload")]


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


def subject_of_upload(site: Site, index: OpenIndex, upload: Upload) -> Subject:
    """Without codes where the index was rebuilt since."""
    codes = upload.codes if upload.version == index.version else []
    return Subject(upload_picture(site, upload), codes, upload_id=upload.upload_id)


ImageSubject = Annotated[Subject, Depends(image_subject)]
UploadSubject = Annotated[Subject, Depends(upload_subject)]


def upload_picture(site: Site, upload: Upload) -> Picture:
    """What the worker remembers from the upload itself is found again."""
    key = upload.crop_sha256 or f"upload/{upload.upload_id}"
    return Picture(key, lambda: kept_square(site.uploads.picture(upload.index, upload.upload_id)))


async def layer_of(
    site: Site, index: OpenIndex, subject: Subject, layer: Layer, decoding: anyio.CapacityLimiter
) -> LayerApart:
    """The picture at one layer. At tokens whose codes were kept, these: what pages and JSON say elsewhere.

    Worked out again in another batch, values differ in their last digits; with an index's lossy thumbnail
    for a picture they differ by more.
    """
    found = await layers_of(site, index, subject, [layer], decoding)
    return found[layer]


async def layers_of(
    site: Site, index: OpenIndex, subject: Subject, layers: Sequence[Layer], decoding: anyio.CapacityLimiter
) -> dict[Layer, LayerApart]:
    """As `layer_of`, in one forward pass for all of them."""
    (apart,) = await take_apart(site, index, [subject.picture], Wanted(tuple(layers)), decoding)
    found = {layer: apart.layers[layer] for layer in layers}  # more of them may be remembered
    return await anyio.to_thread.run_sync(_with_kept_codes, site, index, subject, found)


def _with_kept_codes(
    site: Site, index: OpenIndex, subject: Subject, found: Mapping[Layer, LayerApart]
) -> dict[Layer, LayerApart]:
    return {layer: _with_codes(site, index, subject, layer, each) for layer, each in found.items()}


def _with_codes(
    site: Site, index: OpenIndex, subject: Subject, layer: Layer, found: LayerApart
) -> LayerApart:
    encoder = site.worker.encoder(index.reader.index_dir)
    for code in subject.codes:
        token = token_number(code.token)
        if code.layer == layer and token is not None:
            features = [pair.feature for pair in code.features]
            values = np.array([pair.activation for pair in code.features], np.float32)
            norms = encoder.norms(layer, features)
            found = found.with_code(token, np.array(features, np.int32), values, norms)
    return found
