"""Whole tables of an index in Arrow, for those who go on with them in a notebook. Knows no pages."""

import pyarrow as pa

from scopeview.slots import Slot
from scopeview.store.database import Database
from scopeview.store.index_folder import IN_SLOT, slot_values
from scopeview.store.schema import IMAGE_COLUMNS

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


def features(database: Database, slot: Slot, n_images: int) -> pa.Table:
    """One row a feature of the slot, by number."""
    return database.table(_FEATURES, {**slot_values(slot), "n_images": n_images})


def firing(database: Database, slot: Slot, feature: int) -> pa.Table:
    """One row an image on which the feature fires, by rank."""
    return database.table(_FIRING, {**slot_values(slot), "feature": feature})


def images(database: Database) -> pa.Table:
    """One row an image, by id."""
    return database.table(f"SELECT {IMAGE_COLUMNS} FROM images ORDER BY image_id")
