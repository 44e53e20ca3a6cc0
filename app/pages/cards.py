"""Views of images and features that all pages share. Pure.

They are tuples, since a page makes hundreds: a frozen dataclass takes more than twice as long to make.
"""

from collections.abc import Collection, Mapping, Sequence
from functools import lru_cache
from typing import NamedTuple

from app.formatting import feature_name, fraction, heat, place, short, token_name
from app.services.feature_cards import rows_without_grid
from app.state import OpenIndex
from app.urls import URLS
from scopeview.slots import Token, token_number
from scopeview.store.records import (
    MIN_GRID_IMAGES,
    ActiveFeature,
    FeatureCard,
    FeatureRecord,
    ImageRow,
    TopImage,
)
from scopeview.vision.patches import cell_of

SPRITE_PX = 336


class Mark(NamedTuple):
    """A patch to outline on an image, in units of one patch of a `grid` x `grid` grid."""

    x: int
    y: int
    grid: int
    words: str  # for those who do not see it


class ImageView(NamedTuple):
    """A square image that links to its page."""

    src: str
    alt: str
    url: str | None  # None: it is on its own page already
    unsafe: bool  # blurred until it is clicked
    size_px: int
    mark: Mark | None = None
    gone: bool = False  # on the operator's block-list: an empty cell stands for it
    report: str | None = None  # where one says that it should not be shown; None: it is not ours to show


class Bar(NamedTuple):
    """A value as a part of a maximum, in the colors of activation."""

    value: float
    part: float  # 0 to 1
    step: int  # 0 to 9, of the colors


class FeatureView(NamedTuple):
    """`L22 · 31415  red heart` with its images, its density and a link to copy."""

    name: str  # `L22 · 31415`
    token: str  # as it is shown: `CLS`, `137`, `any`
    url: str
    n_active: int
    n_images: int
    density: float
    max_activation: float | None  # None when it never fires
    word: str | None  # its best name; None where it has none
    word_score: float | None  # the name's cosine
    sprite: str | None  # URL of the 3 x 3 grid; None below nine images
    thumbs: list[ImageView]  # at most nine, where there is no sprite
    unsafe: bool  # one of its nine images is
    size_px: int  # of the sprite
    bar: Bar | None  # its activation on the image at hand
    place: str | None  # where in that image, for the token `any`


class RankedView(NamedTuple):
    """One image at its rank."""

    rank: int
    image_id: int
    image: ImageView
    bar: Bar  # as a part of the feature's maximum
    caption: str  # one line
    place: str | None  # where the maximum is, for the token `any`
    source: str | None  # http or https


class NeighborView(NamedTuple):
    """One neighbor."""

    feature: FeatureView
    name: str | None  # its best name
    score: float
    score_term: str  # `cosine`


class NearLink(NamedTuple):
    """One neighbor in a line."""

    url: str
    label: str  # `L22 · 31415`
    name: str | None  # its best name
    score: float


def bar(value: float, highest: float | None) -> Bar:
    part = fraction(value, highest)
    return Bar(value, part, heat(part))


def mark_at(index: OpenIndex, token: Token, position: int | None) -> Mark | None:
    """Returns the patch of a value: the token's own, or for `any` the one with the maximum. None for CLS."""
    number = position if position is not None else token_number(token)
    return None if number is None else _outline(number, index.manifest.model.grid_size)


@lru_cache(maxsize=4096)
def _outline(number: int, grid: int) -> Mark | None:
    if not 1 <= number <= grid * grid:
        return None
    cell = cell_of(number, grid)
    return Mark(cell.column, cell.row, grid, place(number, grid))


def image_view(index: OpenIndex, image: ImageRow | TopImage, mark: Mark | None = None) -> ImageView:
    """Returns a small view of an indexed image, with its caption as text alternative."""
    if image.image_id in index.reader.blocked():
        return ImageView("", "removed", None, unsafe=False, size_px=index.manifest.thumb_px, gone=True)
    return ImageView(
        src=URLS.thumb(index.slug, image.image_id, index.version),
        alt=short(image.caption) or f"image {image.image_id}",
        url=URLS.image(index.slug, image.image_id),
        unsafe=index.is_unsafe(image.punsafe),
        size_px=index.manifest.thumb_px,
        mark=mark,
        report=URLS.report(index.slug, image.image_id),
    )


def feature_view(
    index: OpenIndex,
    card: FeatureCard | FeatureRecord,
    rows: Mapping[int, ImageRow],
    top_image_ids: Sequence[int],
    found: ActiveFeature | None = None,
    *,
    url: str | None = None,
) -> FeatureView:
    """Builds a view. `rows` holds the top images of a feature without a grid, which shows them one by one.

    `url` is where the feature leads to, if not to its plain page. `found` is its value on the image being
    viewed.
    """
    where = found.position if found else None
    return FeatureView(
        name=feature_name(card.layer, card.feature),
        token=token_name(card.token),
        url=url or URLS.feature(index.slug, card.layer, card.feature, card.token),
        n_active=card.n_active,
        n_images=card.n_images,
        density=card.density,
        max_activation=card.max_activation,
        word=card.name if isinstance(card, FeatureCard) else None,
        word_score=card.name_score if isinstance(card, FeatureCard) else None,
        sprite=_sprite(index, card, top_image_ids) if card.has_grid else None,
        thumbs=[] if card.has_grid else [image_view(index, rows[at]) for at in top_image_ids if at in rows],
        unsafe=_is_unsafe(index, card),
        size_px=SPRITE_PX,
        bar=bar(found.activation, card.max_activation) if found else None,
        place=None if where is None else place(where, index.manifest.model.grid_size),
    )


def _is_unsafe(index: OpenIndex, card: FeatureCard | FeatureRecord) -> bool:
    if isinstance(card, FeatureCard):
        return index.is_unsafe(card.punsafe)
    return any(index.is_unsafe(top.punsafe) for top in card.top_images[:MIN_GRID_IMAGES])


def _sprite(index: OpenIndex, card: FeatureCard | FeatureRecord, top_image_ids: Sequence[int]) -> str:
    version = index.grid_version(top_image_ids)
    return URLS.grid(index.slug, card.layer, card.token, card.feature, version)


def feature_views(index: OpenIndex, cards: Collection[FeatureCard]) -> list[FeatureView]:
    rows = rows_without_grid(index, cards)
    return [feature_view(index, card, rows, card.top_image_ids) for card in cards]
