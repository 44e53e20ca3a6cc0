"""The header of every page about one image: title, image, tabs, and how long an upload is stored."""

from dataclasses import dataclass
from functools import partial
from typing import Any

from starlette.requests import Request

from app.formatting import layer_name, short
from app.pages.cards import ImageView, image_view
from app.pages.image.view_state import tokens_there
from app.pages.layout import Frame, Link, LinkTo, frame_for
from app.services.images import ImageRef
from app.state import AppState, OpenIndex
from app.uploads.store import EXTENDED_TTL_S, Upload, may_delete
from app.urls import URLS, ImageAddress, ImagePart
from scopeview.slots import ANY, EMBED, Layer

COOKIE = "delete_key"


@dataclass(frozen=True)
class RetentionView:
    """Expiry of an upload, and the actions of its sender; None for others."""

    expires_s: float  # since 1970
    keep_url: str | None  # keeps it for longer; None where it is kept for long already
    long_days: int
    delete_url: str | None  # asks first
    delete_link: str | None  # works in any browser: it has the key in it
    outdated: bool  # the index was rebuilt since: feature numbers may mean something else
    clipped: bool  # 16-bit grayscale of which an old index cuts off all above 255
    another: str  # the form again


@dataclass(frozen=True)
class HeaderView:
    """The image a page is about."""

    title: str  # `Image 9`
    image: ImageView
    caption: str  # one line; empty for none
    tabs: list[Link]  # its parts; the one at hand is current
    kept: RetentionView | None  # None for an indexed image
    why_not: str | None  # why it cannot be analyzed now


def header_view(
    request: Request,
    site: AppState,
    index: OpenIndex,
    image: ImageRef,
    part: ImagePart,
    *,
    layer: Layer | None = None,
    tokens: str | None = None,
) -> HeaderView:
    """Builds the header; the links to the other parts keep `layer` and `tokens`."""
    why_not = site.worker.unavailable_reason(index.reader.index_dir)
    kept = None if image.upload is None else _kept(request, index, image.upload)
    return HeaderView(
        title=image.address.name.capitalize(),
        image=image_ref_view(index, image)._replace(url=None),
        caption=short(image.row.caption) if image.row else "",
        tabs=_tabs(index, image.address, part, layer, tokens, can_run=why_not is None),
        kept=kept,
        why_not=why_not,
    )


def image_ref_view(index: OpenIndex, image: ImageRef) -> ImageView:
    """Returns a view of the image that leads to its own page."""
    if image.row is not None:
        return image_view(index, image.row)
    assert image.upload is not None
    return upload_image_view(index, image.upload.upload_id, image.address.url())


def upload_image_view(index: OpenIndex, upload_id: str, url: str | None = None) -> ImageView:
    return ImageView(
        src=URLS.upload_image(index.slug, upload_id),
        alt="the uploaded image, cropped to the square that the model sees",
        url=url,
        unsafe=False,
        size_px=index.manifest.model.image_px,
    )


def image_frame(
    index: OpenIndex, at: ImageAddress, title: str, *, layer: Layer, tokens: str, link: LinkTo, json_url: str
) -> Frame:
    """Builds the frame; its rail and switch stay on the current page."""
    return frame_for(index, f"{title} · {at.name}", layer=layer, token=tokens, link=link, json_url=json_url)


def part_link(at: ImageAddress, part: ImagePart, tokens: str, **query: Any) -> LinkTo:
    """Links to this view at another layer or token."""

    def link(layer: Layer, token: str | None) -> str:
        there = tokens_there(layer, tokens if token is None else token)
        return at.url(part, layer=layer, tokens=there, **query)

    return link


def _tabs(
    index: OpenIndex,
    at: ImageAddress,
    part: ImagePart,
    layer: Layer | None,
    tokens: str | None,
    *,
    can_run: bool,
) -> list[Link]:
    """Builds the tabs; without a model, only those that need none."""
    shown = index.deepest_layer if layer is None else layer
    to = partial(_tab, at, part)
    looked_at: dict[str, Any] = {"layer": shown, "tokens": tokens_there(shown, tokens or ANY)}
    blocks: dict[str, Any] = {} if tokens is None else {"tokens": tokens}
    needing = [
        to(
            "activations",
            "activations",
            f"active features of {layer_name(shown)}",
            **looked_at,
        ),
        to("groups", "groups", "related features, grouped", **looked_at),
        to("layers", "layer by layer", "how the features change from layer to layer", **blocks),
        to("steering", "steering", "edit features and see what changes", **looked_at),
    ]
    known: dict[str, Any] = {} if layer is None or layer == EMBED else {"layer": layer}
    return [
        to("", "overview", "the strongest features of every layer"),
        *(needing if can_run else []),
        to("similar", "similar", "similar images, by embedding and by features", **known),
        to("compare", "compare", "features shared with another image, and features of only one"),
    ]


def _tab(at: ImageAddress, part: ImagePart, to: ImagePart, label: str, title: str, **query: Any) -> Link:
    return Link(label, at.url(to, **query), to == part, title)


def _kept(request: Request, index: OpenIndex, upload: Upload) -> RetentionView:
    key = request.cookies.get(COOKIE, "")
    mine = may_delete(upload, key)
    there = index.slug, upload.upload_id
    may_keep = mine and upload.expires_s < upload.created_s + EXTENDED_TTL_S
    return RetentionView(
        expires_s=upload.expires_s,
        keep_url=URLS.keep_upload(*there) if may_keep else None,
        long_days=round(EXTENDED_TTL_S / 86400),
        delete_url=URLS.delete_upload(*there) if mine else None,
        delete_link=URLS.delete_upload(*there, key=key) if mine else None,
        outdated=upload.version != index.version,
        clipped=upload.grey_16_bit == "clipped",
        another=URLS.uploads(index.slug),
    )
