"""One picture that pages are about, an indexed image or an upload, read once a request; and its addresses."""

from dataclasses import dataclass
from typing import Annotated, Any, Literal

from fastapi import Depends, Path

from app.pages.layout import URLS
from app.params.common import IndexDep, SiteDep, whole_number
from app.services.images import Subject, subject_of_image, subject_of_upload
from app.state import AppState, OpenIndex
from app.uploads.store import Upload
from app.web.errors import unprocessable
from scopeview.errors import NotFoundError
from scopeview.slots import parse_number
from scopeview.store.records import ImageRow

Part = Literal["", "apart", "groups", "layers", "knobs", "similar", "compare", "report"]

KindPath = Annotated[Literal["images", "uploads"], Path(description="`images` or `uploads`")]
PicturePath = Annotated[str, Path(description="number of the image, or id of the upload")]


@dataclass(frozen=True)
class At:
    """Where the pages of one picture are; `picture` is the image's number or the upload's id."""

    index: str
    picture: int | str

    def url(self, part: Part = "", *, api: bool = False, **query: object) -> str:
        return URLS.picture(self.index, self.picture, part, api=api, **query)

    @property
    def beside(self) -> dict[str, Any]:
        """In the query of a feature's page: the picture that stays first there."""
        return {"image" if isinstance(self.picture, int) else "upload": self.picture}

    @property
    def name(self) -> str:
        return f"image {self.picture}" if isinstance(self.picture, int) else "your image"


@dataclass(frozen=True)
class Pictured:
    """`row` is None for an upload, `upload` for an indexed image."""

    at: At
    subject: Subject
    row: ImageRow | None = None
    upload: Upload | None = None


def pictured(site: SiteDep, index: IndexDep, kind: KindPath, picture: PicturePath) -> Pictured:
    """Raises `NotFoundError`, and a 410 for what was removed, deleted or has expired."""
    if kind == "uploads":
        return of_upload(site, index, picture)
    try:
        return of_image(index, whole_number(picture))
    except ValueError as error:
        raise NotFoundError(f"There is no image {picture[:80]!r}: {error}") from None


PicturedDep = Annotated[Pictured, Depends(pictured)]


def of_image(index: OpenIndex, image_id: int) -> Pictured:
    record = index.reader.image(image_id)
    return Pictured(At(index.slug, image_id), subject_of_image(index, record), row=record.row)


def of_upload(site: AppState, index: OpenIndex, upload_id: str) -> Pictured:
    upload = site.uploads.get(index.slug, upload_id)
    return Pictured(At(index.slug, upload_id), subject_of_upload(site, index, upload), upload=upload)


def other_picture(site: AppState, index: OpenIndex, text: str) -> Pictured:
    """The number of an image, or the id of an upload. A 422 for neither, else raises as `pictured`."""
    number = parse_number(text)
    if number is not None and len(text) < 10:
        return of_image(index, number)
    if len(text) == 22:
        return of_upload(site, index, text)
    raise unprocessable("with", text, "the number of an image or the id of an upload")
