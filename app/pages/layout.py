"""The frame around every page: title, index, layers, tokens, search box and preview. Pure."""

from collections.abc import Callable
from dataclasses import dataclass, field

from app.formatting import layer_name, token_name, token_words
from app.state import OpenIndex
from app.urls import URLS
from scopeview.slots import Layer, Slot, Token


@dataclass(frozen=True)
class Link:
    """One place to go."""

    label: str
    url: str
    current: bool = False  # this is where one is
    title: str = ""  # one line of explanation, on hover


@dataclass(frozen=True)
class SearchBox:
    """The box in the top line."""

    action: str  # where it is sent
    value: str = ""  # what it was asked
    hidden: dict[str, str] = field(default_factory=dict)  # what goes with it: the token, the layer one is at
    image_action: str | None = None  # where an image is sent, to search by it


@dataclass(frozen=True)
class Preview:
    """Open Graph and Twitter card of a page."""

    title: str
    description: str
    url: str  # the page's own
    image: str  # 1200 x 630, of images that may be shown to anyone
    alt: str  # of the image


@dataclass(frozen=True)
class Frame:
    """The frame that all pages share; the home page and error pages have no index."""

    title: str  # of the document, without the site's name
    index: Link | None = None
    layers: list[Link] = field(default_factory=list)  # the rail
    tokens: list[Link] = field(default_factory=list)  # the switch
    upload: Link | None = None
    random: Link | None = None
    search: SearchBox = field(default_factory=lambda: SearchBox(URLS.search_anywhere()))
    preview: Preview | None = None
    json_url: str | None = None  # the same figures under /api/v1
    random_weights: bool = False  # show the banner


LinkTo = Callable[[Layer, Token | None], str]
"""Returns the current page at another layer or token; without a token, the page chooses one."""


def frame_for(
    index: OpenIndex,
    title: str,
    *,
    layer: Layer | None = None,
    token: Token | None = None,
    link: LinkTo | None = None,
    json_url: str | None = None,
    preview: Preview | None = None,
) -> Frame:
    """Builds the frame; `link` defaults to galleries, and the given layer and token are highlighted."""
    to = link or (lambda at, token: URLS.gallery(index.slug, at, token=token))
    return Frame(
        title=f"{title} · {index.slug}",
        index=Link(index.slug, URLS.index(index.slug), title=f"{index.manifest.n_images:,} images"),
        layers=[_layer(index, at, token, to, at == layer) for at in index.layers],
        tokens=[] if layer is None else _tokens(index, layer, token, to),
        upload=Link("analyze image", URLS.uploads(index.slug), title="analyze your own image"),
        random=Link("random", URLS.random(index.slug, layer=layer, token=token), title="a random feature"),
        search=search_box(index, layer, token),
        preview=preview,
        json_url=json_url,
        random_weights=index.manifest.model.random_weights,
    )


def _layer(index: OpenIndex, layer: Layer, token: Token | None, to: LinkTo, current: bool) -> Link:
    kept = token if token in index.tokens(layer) else None
    words = "the final image embedding" if layer == "embed" else f"after block {layer}"
    return Link(str(layer), to(layer, kept), current, words)


def _tokens(index: OpenIndex, layer: Layer, token: Token | None, to: LinkTo) -> list[Link]:
    grid_size = index.manifest.model.grid_size
    return [
        Link(token_name(at), to(layer, at), at == token, token_words(layer, at, grid_size))
        for at in index.tokens(layer)
    ]


def search_box(index: OpenIndex, near: Layer | None, token: Token | None, value: str = "") -> SearchBox:
    """Builds the box. A bare number means a feature of layer `near`; words are searched in all layers."""
    given = {"token": token, "near": None if near is None else str(near)}
    hidden = {name: text for name, text in given.items() if text is not None}
    action = URLS.search(index.slug)
    return SearchBox(action, value, hidden, image_action=action)


def slot_name(slot: Slot) -> str:
    """`L22 · CLS`"""
    return f"{layer_name(slot.layer)} · {token_name(slot.token)}"
