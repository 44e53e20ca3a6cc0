"""Every URL of the site. No other module, template or script builds one.

Behind a path prefix (`https://example.org/scope`) every URL carries it: `path_prefix` notes it for each
request, and it is read here when a URL is made.

URLs of images carry a version of the index in the query, so that a browser may keep images for good and still
sees the new ones when an index of the same name is rebuilt.
"""

import re
from contextvars import ContextVar
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal
from urllib.parse import quote, urlencode

from scopeview.slots import Layer, Token

API = "/api/v1"
PATH_PREFIX: ContextVar[str] = ContextVar("path_prefix", default="")
"""The current prefix: `/scope` for `https://example.org/scope/...`; empty at the root of a host."""

ImagePart = Literal["", "activations", "groups", "layers", "steering", "similar", "compare", "report"]
"""Pages about one image, indexed or uploaded; the empty string is its overview."""

_MOVED = {"apart": "activations", "knobs": "steering"}
_MOVED_PATH = re.compile(
    rf"(?P<image>(?:{API})?/[^/]+/(?:images|uploads)/[^/]+)/(?P<part>{'|'.join(_MOVED)})"
)


def moved_path(path: str) -> str | None:
    """Returns the new path, below the prefix, of a page or JSON that has moved; None if it never moved."""
    match = _MOVED_PATH.fullmatch(path)
    return f"{match['image']}/{_MOVED[match['part']]}" if match else None


@dataclass(frozen=True)
class Urls:
    """Builds URLs, with `base_url` before every path. Without it, URLs are paths for any host name."""

    base_url: str = ""

    @property
    def base(self) -> str:
        return self.base_url or PATH_PREFIX.get()

    def home(self) -> str:
        return f"{self.base}/"

    def api_help(self) -> str:
        return f"{self.base}/api"

    def glossary(self) -> str:
        return f"{self.base}/glossary"

    def openapi(self) -> str:
        return f"{self.base}{API}/openapi.json"

    def static(self, name: str, version: str) -> str:
        return f"{self.base}/static/{name}?{urlencode({'v': version})}"

    # -- pages, and their twins in JSON ----------------------------------------------------------------------

    def index(self, index: str, *, api: bool = False) -> str:
        return self._path(api, index)

    def gallery(self, index: str, layer: Layer, *, api: bool = False, **query: object) -> str:
        return self._path(api, index, layer) + _query(query)

    def map(self, index: str, layer: Layer, **query: object) -> str:
        return self._path(False, index, layer, "map") + _query(query)

    def points(self, index: str, layer: Layer, *, packed: bool = False, **query: object) -> str:
        return self._path(True, index, layer, "points.safetensors" if packed else "points") + _query(query)

    def feature(
        self, index: str, layer: Layer, feature: int, token: Token, *, api: bool = False, **query: object
    ) -> str:
        return f"{self._root(api, index)}/{layer}/{feature}{_query({'token': token, **query})}"

    def feature_images(self, index: str, layer: Layer, feature: int, token: Token, **query: object) -> str:
        return self._path(True, index, layer, feature, "images") + _query({"token": token, **query})

    def feature_csv(self, index: str, layer: Layer, feature: int, token: Token, **query: object) -> str:
        return self._path(True, index, layer, feature, "images.csv") + _query({"token": token, **query})

    def heat(self, index: str, layer: Layer, feature: int, **query: object) -> str:
        return self._path(True, index, layer, feature, "heat") + _query(query)

    def image(self, index: str, image_id: int, *, api: bool = False, **query: object) -> str:
        return f"{self._root(api, index)}/images/{image_id}{_query(query)}"

    def images(self, index: str, **query: object) -> str:
        return self._path(True, index, "images") + _query(query)

    def uploads(self, index: str, *, api: bool = False) -> str:
        return self._path(api, index, "uploads")

    def upload(self, index: str, upload_id: str, *, api: bool = False, **query: object) -> str:
        return self._path(api, index, "uploads", upload_id) + _query(query)

    def delete_upload(self, index: str, upload_id: str, **query: object) -> str:
        return self._path(False, index, "uploads", upload_id, "delete") + _query(query)

    def keep_upload(self, index: str, upload_id: str) -> str:
        return self._path(False, index, "uploads", upload_id, "keep")

    def image_part(
        self, index: str, image: int | str, part: ImagePart = "", *, api: bool = False, **query: object
    ) -> str:
        """Returns a page about one image: an indexed one by its number, an upload by its id."""
        kind = "images" if isinstance(image, int) else "uploads"
        parts = [part] if part else []
        return self._path(api, index, kind, image, *parts) + _query(query)

    def search(self, index: str, *, api: bool = False, **query: object) -> str:
        return self._path(api, index, "search") + _query(query)

    def search_anywhere(self, **query: object) -> str:
        return f"{self.base}/search" + _query(query)

    def compare(self, index: str, *, api: bool = False, **query: object) -> str:
        return self._path(api, index, "compare") + _query(query)

    def report(self, index: str, image_id: int) -> str:
        return f"{self._root(False, index)}/images/{image_id}/report"

    def patterns(self) -> str:
        return f"{self.base}/patterns"

    def random(self, index: str, **query: object) -> str:
        return self._path(False, index, "random") + _query(query)

    # -- images --------------------------------------------------------------------------------------------

    def thumb(self, index: str, image_id: int, version: str) -> str:
        return f"{self._root(False, index)}/thumbs/{image_id}.webp{_query({'v': version})}"

    def grid(self, index: str, layer: Layer, token: Token, feature: int, version: str) -> str:
        root = self._root(False, index)
        return f"{root}/grids/{layer}/{token}/{feature}.webp{_query({'v': version})}"

    def preview(self, index: str, version: str) -> str:
        return self._path(False, index, "og.png") + _query({"v": version})

    def feature_preview(self, index: str, layer: Layer, feature: int, token: Token, version: str) -> str:
        return self._path(False, index, layer, feature, "og.png") + _query({"token": token, "v": version})

    def upload_image(self, index: str, upload_id: str) -> str:
        return self._path(False, index, "uploads", f"{upload_id}.webp")

    def _root(self, api: bool, index: str) -> str:
        return f"{self.base}{API if api else ''}/{_segment(index)}"

    def _path(self, api: bool, *segments: object) -> str:
        path = "/".join([str(part) if isinstance(part, int) else _segment(str(part)) for part in segments])
        return f"{self.base}{API if api else ''}/{path}"


URLS = Urls()
"""Pages link by paths alone, which work behind any host name; the path prefix is part of them."""


@dataclass(frozen=True)
class ImageAddress:
    """The address of one image's pages; `image` is an indexed image's number or an upload's id."""

    index: str
    image: int | str

    def url(self, part: ImagePart = "", *, api: bool = False, **query: object) -> str:
        return URLS.image_part(self.index, self.image, part, api=api, **query)

    @property
    def pinned(self) -> dict[str, Any]:
        """The query of a feature's page that keeps this image first there."""
        return {"image" if isinstance(self.image, int) else "upload": self.image}

    @property
    def name(self) -> str:
        return f"image {self.image}" if isinstance(self.image, int) else "your image"


def _query(values: dict[str, object]) -> str:
    """Encodes a query. Leaves out None, so that a default has the short URL; gives lists value by value."""
    if not values:
        return ""
    if len(values) == 1:
        ((name, value),) = values.items()
        if isinstance(value, str):  # most of them: a token, or the version of an image
            return f"?{_encoded(((name, value),))}"
    given = tuple(
        (name, str(each))
        for name, value in values.items()
        for each in (value if isinstance(value, list) else [value])
        if each is not None
    )
    return f"?{_encoded(given)}" if given else ""


# A page has hundreds of URLs, made of the same few words.


@lru_cache(maxsize=4096)
def _segment(text: str) -> str:
    return quote(text, safe="")


@lru_cache(maxsize=4096)
def _encoded(given: tuple[tuple[str, str], ...]) -> str:
    return urlencode(given, safe=":,")
