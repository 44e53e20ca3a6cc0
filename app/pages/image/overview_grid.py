"""What the page of a picture with all layers shares, indexed or an upload: ways into one layer. Pure."""

from dataclasses import replace

from markupsafe import Markup

from app.pages.image.patch_grid import TOKENS, GridView, patch_links
from app.pages.image.view_state import tokens_there
from app.pages.image_slots import picture_link
from app.pages.layout import Frame, Link, LinkTo
from app.params.view_params import SlotFilter
from app.state import OpenIndex
from app.urls import ImageAddress
from scopeview.slots import ANY, CLS, EMBED


def overview_grid(index: OpenIndex, at: ImageAddress, *, can_run: bool) -> GridView:
    """A patch leads to what is active there in the deepest block; no patches without a model."""
    layer = index.deepest_layer
    size = index.manifest.model.grid_size if can_run and layer != EMBED else 0
    url = at.url("activations", layer=layer, tokens=TOKENS)
    switch = [
        Link("CLS", at.url("activations", layer=layer, tokens=CLS), title="it summarizes the image"),
        Link("whole image", at.url("activations", layer=layer, tokens=ANY), title="all patches and CLS"),
    ]
    links = patch_links(url, size) if size else Markup("")
    return GridView(size, url, links, "", ANY, switch if size else [])


def overview_frame(frame: Frame, index: OpenIndex, at: ImageAddress, what: SlotFilter) -> Frame:
    """The rail leads into a layer, at the same token."""
    layers = [
        replace(link, url=at.url("activations", layer=layer, tokens=tokens_there(layer, what.token)))
        for link, layer in zip(frame.layers, index.layers, strict=True)
    ]
    return replace(frame, layers=layers)


def slot_link(at: ImageAddress, *, can_run: bool) -> LinkTo:
    """All that is active in a layer: without a model what was kept of it."""
    if not can_run:
        return picture_link(at.url)
    return lambda layer, token: at.url("activations", layer=layer, tokens=token)
