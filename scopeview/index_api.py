"""An index as a notebook sees it: the reader's answers, and features that show their 3 x 3 grid.

Knows nothing of servers: pictures are written into the HTML, so that a saved notebook keeps them.
"""

from base64 import b64encode
from dataclasses import dataclass, field
from html import escape
from typing import SupportsIndex

import pyarrow as pa

from scopeview.store import tables
from scopeview.store.reader import IndexReader
from scopeview.store.records import MIN_GRID_IMAGES, FeatureRecord, TopImage

_CAPTION_CHARS = 200


class Index(IndexReader):
    """What `scopeview.open_index` gives. Close it, or use it as a context manager."""

    def feature(
        self, layer: str | SupportsIndex, feature: SupportsIndex, token: str | SupportsIndex = "cls"
    ) -> "Feature":
        """One feature with its histogram and stored top images. Raises `NotFoundError`."""
        return Feature(**vars(super().feature(layer, feature, token)), index=self)

    def features(self, layer: str | SupportsIndex, token: str | SupportsIndex = "cls") -> pa.Table:
        """Every feature of a slot, dead ones too, a row each; `.to_pandas()` makes a DataFrame of it.

        feature, n_active, density, max_activation, mean_activation; name, name_score, clarity, label_entropy,
        selectivity, x, y where the index was described, else NULL. Raises `NotFoundError`.
        """
        return tables.features(self._database, self.slot(layer, token), self.manifest.n_images)

    def firing(
        self, layer: str | SupportsIndex, feature: SupportsIndex, token: str | SupportsIndex = "cls"
    ) -> pa.Table:
        """Every image on which it fires, by rank: rank, image_id, key, activation, position, caption.

        `position` is the token with the maximum at `any`, else NULL. Raises `NotFoundError`.
        """
        slot = self.slot(layer, token)
        return tables.firing(self._database, slot, self.feature(layer, feature, token).feature)

    def image_table(self) -> pa.Table:
        """Every image, a row each: image_id, key, caption, source_url, label, width, height, punsafe."""
        return tables.images(self._database)

    def __repr__(self) -> str:
        slots = ", ".join(slot.name for slot in self.manifest.slots)
        return f"<Index {self.manifest.slug}: {self.manifest.n_images:,} images; slots {slots}>"


@dataclass(frozen=True)
class Feature(FeatureRecord):
    """A feature that knows the index it is from, and so how to show itself."""

    index: Index = field(repr=False, compare=False)

    def _repr_html_(self) -> str:
        """The grid, or what pictures there are, above one line of facts."""
        facts = f"<figcaption>{escape(self.facts)}</figcaption>"
        return f'<figure style="margin: 0">{self._pictures()}{facts}</figure>'

    @property
    def facts(self) -> str:
        """One line: which feature, and how often and how strongly it fires."""
        name = f"{self.index.manifest.slug} · layer {self.layer} · {self.token} · feature {self.feature}"
        fires = f"fires on {self.n_active:,} of {self.n_images:,} images"
        strength = (
            ""
            if self.max_activation is None
            else f", at most {self.max_activation:.4g}, {self.mean_activation:.4g} on average"
        )
        untrained = "; random weights" if self.index.manifest.model.random_weights else ""
        return f"{name}: {fires}{strength}{untrained}"

    def _pictures(self) -> str:
        shown = self.top_images[:MIN_GRID_IMAGES]
        if self.has_grid:
            sprite = self.index.grid(self.index.slot(self.layer, self.token), self.feature)
            return _image(sprite, "\n".join(map(_line, shown)))
        return "".join(_image(self.index.thumb(top.image_id), _line(top)) for top in shown)


def _image(webp: bytes, words: str) -> str:
    text = escape(words)
    return f'<img src="data:image/webp;base64,{b64encode(webp).decode()}" alt="{text}" title="{text}">'


def _line(top: TopImage) -> str:
    """`1. a red circle (3.25)`; the key stands in for a caption."""
    words = " ".join((top.caption or top.key).split())
    return f"{top.rank}. {words[:_CAPTION_CHARS]} ({top.activation:.4g})"
