"""Selects the images of a social card: top images that may be shown to anyone.

People who see a preview did not ask for it, so an unsafe image is not blurred there but left out, and the
next one takes its place.
"""

import io
from collections.abc import Iterable, Sequence

from PIL import Image

from app.formatting import days, layer_name, percent, token_name
from app.services.social_card.render import Line, Panel, draw_feature, draw_index
from app.state import OpenIndex
from scopeview.errors import NotFoundError
from scopeview.slots import Slot
from scopeview.store.records import MIN_GRID_IMAGES, FeatureCard, FeatureRecord, Sort, TopImage

LOOKED_AT = 60
"""The top images of a feature that are searched for nine safe ones."""

N_PANELS = 3


def safe_nine(index: OpenIndex, record: FeatureRecord) -> list[int]:
    """Returns the ids of the safe top images by rank, at most nine."""
    ids = _safe(index, record.top_images)
    if len(ids) < MIN_GRID_IMAGES and record.n_active > len(record.top_images):
        slot = Slot(record.layer, record.token)
        ids = _safe(index, index.reader.activating_images(slot, record.feature, limit=LOOKED_AT))
    return ids[:MIN_GRID_IMAGES]


def feature_png(index: OpenIndex, record: FeatureRecord, word: str | None, image_ids: Iterable[int]) -> bytes:
    """Draws a feature's card with these images, which have to be safe; `word` is its best name."""
    fires = f"fires on {record.n_active:,} of {record.n_images:,} images"
    lines = [
        Line(f"{layer_name(record.layer)} · {record.feature}", 60, bold=True),
        *([Line(word, 44)] if word else []),
        Line(fires, 30),
        Line(f"density {percent(record.density)}", 30, quiet=True),
        Line(f"at {token_name(record.token)}", 30, quiet=True),
    ]
    untrained = " · random weights" if index.manifest.model.random_weights else ""
    foot = f"Scopeview · {index.slug}{untrained}"
    return draw_feature(_thumbs(index, image_ids), lines, foot)


def index_png(index: OpenIndex) -> bytes:
    manifest = index.manifest
    layers = " ".join(map(str, index.layers))
    lines = [
        Line(manifest.slug, 56, bold=True),
        Line(f"{manifest.n_images:,} images · layers {layers} · {days(manifest.created)}", 28, quiet=True),
    ]
    return draw_index([_panel(index, card) for card in card_features(index)], lines)


def card_features(index: OpenIndex) -> list[FeatureCard]:
    """Returns the clearest features, with different names, of the deepest block that has any.

    If clarity is unknown, returns some features of that block.
    """
    blocks = [slot for slot in index.manifest.slots if slot.layer != "embed"] or index.manifest.slots
    for slot in sorted(blocks, key=lambda slot: -int(slot.layer) if slot.layer != "embed" else 0):
        sort: Sort = "clarity" if index.reader.is_described else "random"
        cards = index.reader.gallery(slot, sort=sort, seed=7, limit=8 * N_PANELS).cards
        if cards:
            unlike: dict[str, FeatureCard] = {}
            for card in cards:
                unlike.setdefault(card.name or str(card.feature), card)
            return list(unlike.values())[:N_PANELS]
    return []


def _panel(index: OpenIndex, card: FeatureCard) -> Panel:
    record = index.reader.feature(card.layer, card.feature, card.token)
    title = f"{layer_name(card.layer)} · {card.feature}" + (f"  {card.name}" if card.name else "")
    return Panel(_thumbs(index, safe_nine(index, record)), title)


def _thumbs(index: OpenIndex, image_ids: Iterable[int]) -> Sequence[Image.Image | None]:
    return [_thumb(index, image_id) for image_id in image_ids]


def _thumb(index: OpenIndex, image_id: int) -> Image.Image | None:
    try:
        webp = index.reader.thumb(image_id)
    except NotFoundError:
        return None
    with Image.open(io.BytesIO(webp), formats=["WEBP"]) as opened:
        return opened.convert("RGB")


def _safe(index: OpenIndex, tops: Sequence[TopImage]) -> list[int]:
    blocked = index.reader.blocked()
    return [top.image_id for top in tops if top.image_id not in blocked and not index.is_unsafe(top.punsafe)]
