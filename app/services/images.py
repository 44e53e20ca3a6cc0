"""One type for an image, indexed or uploaded, and how it is read."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Literal

from fastapi import Depends, Path
from PIL import Image

from app.params.dependencies import ImagePath, IndexDep, SiteDep, whole_number
from app.state import AppState, OpenIndex
from app.uploads.store import Upload
from app.urls import ImageAddress
from app.web.errors import unprocessable
from scopeview.errors import NotFoundError
from scopeview.images import ImageLimits, decode
from scopeview.slots import parse_number
from scopeview.store.records import Code, ImageRow

KindPath = Annotated[Literal["images", "uploads"], Path(description="`images` or `uploads`")]
AnyImagePath = Annotated[str, Path(description="number of the image, or id of the upload")]
UploadPath = Annotated[str, Path(description="upload id, from the response to the upload")]


@dataclass(frozen=True)
class ImageRef:
    """One image of an index. `row` is None for an upload, `upload` for an indexed image."""

    address: ImageAddress
    key: str  # equal keys within an index are equal images
    read: Callable[[], Image.Image]  # decodes the square that is kept; may raise `NotFoundError`
    codes: Sequence[Code] = ()  # as they were kept, maybe none
    row: ImageRow | None = None
    upload: Upload | None = None

    @property
    def image_id(self) -> int | None:
        """The image number; None for an upload."""
        return self.address.image if isinstance(self.address.image, int) else None

    @property
    def upload_id(self) -> str | None:
        """The upload id; None for an indexed image."""
        return self.address.image if isinstance(self.address.image, str) else None


def thumbnail_ref(index: OpenIndex, image_id: int) -> ImageRef:
    """Returns the image with nothing but the index's thumbnail: reads no row and no codes."""
    return ImageRef(
        ImageAddress(index.slug, image_id),
        f"{index.version}/{image_id}",
        lambda: decode_square(index.reader.thumb(image_id)),
    )


def indexed_image(index: OpenIndex, image_id: int) -> ImageRef:
    """Returns the image. Raises `NotFoundError`, and a 410 if the operator removed it."""
    record = index.reader.image(image_id)
    return replace(thumbnail_ref(index, image_id), codes=record.codes, row=record.row)


def uploaded_image(site: AppState, index: OpenIndex, upload_id: str) -> ImageRef:
    """Returns the upload, without codes if the index was rebuilt since. Raises as `UploadStore.get` does."""
    upload = site.uploads.get(index.slug, upload_id)
    return ImageRef(
        ImageAddress(index.slug, upload_id),
        upload.crop_sha256 or f"upload/{upload_id}",  # what the worker remembers of it is found again
        lambda: decode_square(site.uploads.image(index.slug, upload_id)),
        upload.codes if upload.version == index.version else [],
        upload=upload,
    )


def other_image(site: AppState, index: OpenIndex, text: str) -> ImageRef:
    """Returns an image by number or an upload by id. Raises a 422 for neither, else as those two do."""
    number = parse_number(text)
    if number is not None and len(text) < 10:
        return indexed_image(index, number)
    if len(text) == 22:
        return uploaded_image(site, index, text)
    raise unprocessable("with", text, "the number of an image or the id of an upload")


def decode_square(webp: bytes) -> Image.Image:
    """Decodes a square that this program wrote itself."""
    return decode(webp, ImageLimits()).image


def image_at(site: SiteDep, index: IndexDep, kind: KindPath, image_id: AnyImagePath) -> ImageRef:
    """Returns the image. Raises `NotFoundError`, and a 410 if it was removed or deleted, or expired."""
    if kind == "uploads":
        return uploaded_image(site, index, image_id)
    try:
        return indexed_image(index, whole_number(image_id))
    except ValueError as error:
        raise NotFoundError(f"There is no image {image_id[:80]!r}: {error}") from None


def image_by_number(index: IndexDep, image_id: ImagePath) -> ImageRef:
    return indexed_image(index, image_id)


def image_by_upload_id(site: SiteDep, index: IndexDep, upload_id: UploadPath) -> ImageRef:
    return uploaded_image(site, index, upload_id)


ImageDep = Annotated[ImageRef, Depends(image_at)]
