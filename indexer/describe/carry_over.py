"""What a change of vocabulary leaves as it is: everything but names, taken over from the earlier database."""

import json
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

import duckdb

from indexer.describe.parquet_parts import layers_with_places
from indexer.describe.plan import DescribePlan
from scopeview.slots import Slot
from scopeview.store.database import interruptible
from scopeview.store.duckdb_paths import quoted
from scopeview.store.files import atomic_write, image_vectors, slot_vectors

_SLOT_PARTS = {
    "tops": "feature, clarity, label_entropy, folds FROM described.features",
    "map": "feature, x, y FROM described.features",
    "neighbors": "feature, kind, other_layer, features, scores FROM described.neighbors",
}
_PLACES = "feature, positions, at_cls, selectivity FROM described.places"


def take_over(plan: DescribePlan) -> None:
    """Fills in the parts that the index's present descriptions hold already, where settings are the same."""
    earlier = plan.manifest.describe
    settings = json.loads(json.dumps(asdict(plan.settings)))
    if earlier is None or earlier.settings != settings or plan.database.exists():
        return
    path = plan.index_dir / earlier.database
    if not (path.is_file() and _has_vectors(plan)):
        return
    with interruptible(), duckdb.connect(":memory:") as connection:
        connection.execute(f"ATTACH {quoted(path)} AS described (READ_ONLY)")
        for part, query in _queries(plan):
            if not part.exists():
                with atomic_write(part) as temporary:
                    connection.execute(f"COPY ({query}) TO {quoted(temporary)} (FORMAT parquet)")


def _has_vectors(plan: DescribePlan) -> bool:
    paths = [slot_vectors(plan.index_dir, slot) for slot in plan.slots]
    return all(path.is_file() for path in (*paths, image_vectors(plan.index_dir)))


def _queries(plan: DescribePlan) -> Iterator[tuple[Path, str]]:
    """Each part that can be taken over, and the rows it holds."""
    for slot in plan.slots:
        for name, columns in _SLOT_PARTS.items():
            drawn = " AND x IS NOT NULL" if name == "map" else ""
            yield plan.slot_part(slot, name), f"SELECT {columns} WHERE {_at(slot)}{drawn} ORDER BY feature"
    for layer in layers_with_places(plan):
        yield plan.part(f"{layer}.places"), f"SELECT {_PLACES} WHERE layer = '{layer}' ORDER BY feature"


def _at(slot: Slot) -> str:
    return f"layer = '{slot.layer}' AND token = '{slot.token}'"
