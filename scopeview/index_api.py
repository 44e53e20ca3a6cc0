"""An index for notebooks: the reader's queries, and features that display their 3 x 3 grid of images.

Knows nothing of servers: images are embedded in the HTML, so that a saved notebook keeps them.
"""

from base64 import b64encode
from dataclasses import dataclass, field
from html import escape
from typing import SupportsIndex

import pyarrow as pa

from scopeview.store.index_folder import IN_SLOT, slot_values
from scopeview.store.reader import IndexReader
from scopeview.store.records import MIN_GRID_IMAGES, FeatureRecord, TopImage
from scopeview.store.schema import IMAGE_COLUMNS

_CAPTION_CHARS = 200
_FEATURES = f"""
SELECT feature, n_active, n_active / $n_images::DOUBLE AS density, max AS max_activation,
  CASE WHEN n_active > 0 THEN sum / n_active END AS mean_activation,
  names[1] AS name, name_scores[1] AS name_score, clarity, label_entropy, selectivity, x, y
FROM (SELECT feature, n_active, sum, max FROM features WHERE {IN_SLOT})
LEFT JOIN (
  SELECT feature, names, name_scores, clarity, label_entropy, selectivity, x, y
  FROM described.features WHERE {IN_SLOT}
) USING (feature)
ORDER BY feature
"""
_FIRING = f"""
SELECT row_number() OVER (ORDER BY activation DESC, image_id) AS rank,
  image_id, key, activation, position, caption
FROM (SELECT image_id, activation, position FROM activations WHERE {IN_SLOT} AND feature = $feature)
JOIN images USING (image_id)
ORDER BY rank
"""


class Index(IndexReader):
    """An open index, as `scopeview.open_index` returns it. Close it, or use it as a context manager."""

    def feature(
        self, layer: str | SupportsIndex, feature: SupportsIndex, token: str | SupportsIndex = "cls"
    ) -> "Feature":
        """Returns a feature with its histogram and stored top images. Raises `NotFoundError`."""
        return Feature(**vars(super().feature(layer, feature, token)), index=self)

    def features(self, layer: str | SupportsIndex, token: str | SupportsIndex = "cls") -> pa.Table:
        """Returns all features of a slot, including dead ones, one row each, in ascending order.

        Columns: feature, n_active, density, max_activation, mean_activation, name, name_score, clarity,
        label_entropy, selectivity, x, y. Those from name on are NULL if they are unknown or the index was not
        described. Convert to a DataFrame with `.to_pandas()`. Raises `NotFoundError`.
        """
        return self.table(
            _FEATURES, {**slot_values(self.slot(layer, token)), "n_images": self.manifest.n_images}
        )

    def firing(
        self, layer: str | SupportsIndex, feature: SupportsIndex, token: str | SupportsIndex = "cls"
    ) -> pa.Table:
        """Returns all images on which the feature fires, one row each, highest activation first.

        Columns: rank, image_id, key, activation, position, caption. At `any`, `position` is the token with
        the maximum; elsewhere it is NULL. Raises `NotFoundError`.
        """
        slot = self.slot(layer, token)
        number = self.feature(layer, feature, token).feature
        return self.table(_FIRING, {**slot_values(slot), "feature": number})

    def image_table(self) -> pa.Table:
        """Returns all images of the index, one row each, by image id.

        Columns: image_id, key, caption, source_url, label, width, height, punsafe.
        """
        return self.table(f"SELECT {IMAGE_COLUMNS} FROM images ORDER BY image_id")

    def __repr__(self) -> str:
        slots = ", ".join(slot.name for slot in self.manifest.slots)
        return f"<Index {self.manifest.slug}: {self.manifest.n_images:,} images; slots {slots}>"


@dataclass(frozen=True)
class Feature(FeatureRecord):
    """A feature of an open index, which a notebook displays with its images."""

    index: Index = field(repr=False, compare=False)

    def _repr_html_(self) -> str:
        """The feature's grid, or its images if there are too few for a grid, above one line of facts."""
        facts = f"<figcaption>{escape(self.facts)}</figcaption>"
        return f'<figure style="margin: 0">{self._thumbs()}{facts}</figure>'

    @property
    def facts(self) -> str:
        """One line that names the feature, and says how often and how strongly it fires."""
        name = f"{self.index.manifest.slug} · layer {self.layer} · {self.token} · feature {self.feature}"
        fires = f"fires on {self.n_active:,} of {self.n_images:,} images"
        strength = (
            ""
            if self.max_activation is None
            else f", at most {self.max_activation:.4g}, {self.mean_activation:.4g} on average"
        )
        untrained = "; random weights" if self.index.manifest.model.random_weights else ""
        return f"{name}: {fires}{strength}{untrained}"

    def _thumbs(self) -> str:
        shown = self.top_images[:MIN_GRID_IMAGES]
        if self.has_grid:
            sprite = self.index.grid(self.index.slot(self.layer, self.token), self.feature)
            return _image(sprite, "\n".join(map(_line, shown)))
        return "".join(_image(self.index.thumb(top.image_id), _line(top)) for top in shown)


def _image(webp: bytes, words: str) -> str:
    text = escape(words)
    return f'<img src="data:image/webp;base64,{b64encode(webp).decode()}" alt="{text}" title="{text}">'


def _line(top: TopImage) -> str:
    """A caption line such as `1. a red circle (3.25)`; shows the key if there is no caption."""
    words = " ".join((top.caption or top.key).split())
    return f"{top.rank}. {words[:_CAPTION_CHARS]} ({top.activation:.4g})"
