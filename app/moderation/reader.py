"""The server's index reader: it withholds what the block-list names.

A blocked image keeps its number, its rank and its activations, so that every count stays true. Its pixels,
words and addresses are withheld, and its cell in a grid is covered.
"""

import io
import threading
from collections.abc import Iterable
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import SupportsIndex

from PIL import Image

from app.moderation.blocklist import BlockList, Rules
from app.web.errors import ProblemError
from scopeview.images import encode_webp
from scopeview.slots import Slot
from scopeview.store.reader import IndexReader
from scopeview.store.records import ImageRecord, ImageRow

COVER = (128, 128, 132)
_COVERED_KEPT = 256  # sprites in memory: about 15 KB each
_HOST = r"lower(regexp_extract(source_url, '^[a-zA-Z]+://(?:[^/?#@]*@)?([^/:?#]+)', 1))"


class GoneError(ProblemError):
    """410: the image exists, but must not be shown."""

    def __init__(self, image_id: int) -> None:
        detail = f"Image {image_id} was removed by the operator of this server."
        super().__init__(410, "gone", detail)


class ModeratedReader(IndexReader):
    """An `IndexReader` that asks the block-list first."""

    _memory_mb = 512  # more makes no page faster: what is asked for all day is kept beside the database

    def __init__(self, index_dir: Path, blocklist: BlockList | None = None) -> None:
        super().__init__(index_dir)
        self._blocklist = blocklist or BlockList()
        self._found: tuple[Rules, frozenset[int]] = (Rules(), frozenset())
        self._finding = threading.Lock()
        self._covered = lru_cache(maxsize=_COVERED_KEPT)(_cover)

    def blocked(self) -> frozenset[int]:
        """Returns the ids of all blocked images; searches the whole index once after each change."""
        rules = self._blocklist.rules()
        if rules is not self._found[0]:
            with self._finding:
                if rules is not self._found[0]:
                    self._found = (rules, self._find(rules))
        return self._found[1]

    def edition(self) -> str:
        """Returns a text that changes with the block-list; empty while nothing is blocked."""
        return self._blocklist.rules().digest

    def grid_version(self, version: str, image_ids: Iterable[int]) -> str:
        """Returns the version for the URL of a grid of these images; it differs while a cell is covered."""
        blocked = self.blocked()
        covered = sorted(blocked.intersection(image_ids)) if blocked else []
        return "-".join([version, *map(str, covered)])

    def image_rows(self, image_ids: Iterable[SupportsIndex]) -> dict[int, ImageRow]:
        blocked = self.blocked()
        rows = super().image_rows(image_ids)
        if not blocked:
            return rows
        return {at: redacted(row) if at in blocked else row for at, row in rows.items()}

    def images(self, *, limit: int = 100, after: int = -1) -> list[ImageRow]:
        blocked = self.blocked()
        rows = super().images(limit=limit, after=after)
        return [redacted(row) if row.image_id in blocked else row for row in rows]

    def image(self, image_id: SupportsIndex) -> ImageRecord:
        self.refuse_blocked(image_id)
        return super().image(image_id)

    def thumb(self, image_id: SupportsIndex) -> bytes:
        self.refuse_blocked(image_id)
        return super().thumb(image_id)

    def refuse_blocked(self, image_id: SupportsIndex) -> None:
        """Raises `GoneError`, a 410, for an image that is blocked."""
        number = image_id.__index__()
        if number in self.blocked():
            raise GoneError(number)

    def grid(self, slot: Slot, feature: int) -> bytes:
        sprite = super().grid(slot, feature)
        blocked = self.blocked()
        ids = self.grid_image_ids(slot, feature)
        cells = tuple(at for at, image_id in enumerate(ids) if image_id in blocked)
        return self._covered(sprite, cells) if cells else sprite

    def grid_image_ids(self, slot: Slot, feature: int) -> list[int]:
        """Returns the ids of a grid's images, by rank; empty, without a look-up, while nothing is blocked."""
        if not self.blocked():
            return []
        return [at for card in self.cards(slot, [feature]).values() for at in card.top_image_ids]

    def _find(self, rules: Rules) -> frozenset[int]:
        wanted = {
            "sha256": rules.sha256s,
            "lower(source_url)": rules.urls,
            _HOST: self._blocked_hosts(rules) if rules.domains else (),
        }
        found = set[int]()
        for column, values in wanted.items():
            if values:
                sql = f"SELECT image_id FROM images WHERE {column} IN (SELECT unnest($values::VARCHAR[]))"
                found.update(image_id for (image_id,) in self.sql(sql, {"values": sorted(values)}))
        return frozenset(found)

    def _blocked_hosts(self, rules: Rules) -> list[str]:
        known = self.sql(f"SELECT DISTINCT {_HOST} FROM images WHERE source_url IS NOT NULL")
        return [host for (host,) in known if rules.blocks_host(host)]


def redacted(row: ImageRow) -> ImageRow:
    """Returns the row of a blocked image with nothing left but its number."""
    return replace(row, key="removed", caption=None, source_url=None, label=None, punsafe=None)


def _cover(sprite: bytes, cells: tuple[int, ...]) -> bytes:
    with Image.open(io.BytesIO(sprite), formats=["WEBP"]) as opened:
        image = opened.convert("RGB")
    side = image.width // 3
    for at in cells:
        left, top = at % 3 * side, at // 3 * side
        image.paste(COVER, (left, top, left + side, top + side))
    return encode_webp(image)
