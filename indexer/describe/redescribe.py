"""`scopeview describe`: describes a finished index, or describes it again with other words."""

import json
import shutil
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

import duckdb

from indexer.build import work_dir
from indexer.checksums import with_files
from indexer.describe.parquet_parts import layers_with_any
from indexer.describe.plan import DescribePlan
from indexer.describe.stage import describe
from indexer.run_config import locked, record_vocabulary
from scopeview.model_spec import recipe_of
from scopeview.slots import Slot
from scopeview.store.database import interruptible
from scopeview.store.duckdb_paths import quoted
from scopeview.store.feature_rows import rows_dir
from scopeview.store.files import atomic_write, image_vectors, slot_vectors
from scopeview.store.manifest import Manifest, read_manifest, write_manifest
from scopeview.vision.text import text_folder, text_problem
from scopeview.vision.vocabulary import read_vocabulary


def describe_index(index_dir: Path, vocabulary: Path | None = None) -> Manifest:
    """Writes the new file, then the manifest that names it, then removes the old file: a kill does no harm.

    A running server keeps using the old file until it is restarted. Raises an `InputError` if the folder is
    not a finished index, or if its weights have been moved or changed.
    """
    words = read_vocabulary(vocabulary)
    recipe = recipe_of(index_dir, read_manifest(index_dir))
    without_names = text_problem(text_folder(recipe.model), words.words)
    with locked(index_dir):
        plan = DescribePlan(index_dir, read_manifest(index_dir), recipe, words, without_names)
        carry_over(plan)
        described = plan.manifest.model_copy(update={"describe": describe(plan)})
        manifest = with_files(index_dir, described)
        write_manifest(index_dir, manifest)
        record_vocabulary(index_dir, words.sha256)
        remove_stale_files(plan)
        return manifest


def remove_stale_files(plan: DescribePlan) -> None:
    """Removes descriptions made with other words, and files that only the build needs."""
    for path in plan.index_dir.glob("described-*.duckdb*"):
        if path != plan.database:
            path.unlink()
    rows = rows_dir(plan.index_dir, plan.database.name)
    for path in plan.index_dir.glob("rows-*/"):
        if path != rows:
            shutil.rmtree(path, ignore_errors=True)
    shutil.rmtree(work_dir(plan.index_dir), ignore_errors=True)


_SLOT_PARTS = {
    "tops": "feature, clarity, label_entropy, folds FROM described.features",
    "map": "feature, x, y FROM described.features",
    "neighbors": "feature, kind, other_layer, features, scores FROM described.neighbors",
}
_PLACES = "feature, positions, at_cls, selectivity FROM described.places"


def carry_over(plan: DescribePlan) -> None:
    """Copies the parts that the index's present descriptions already contain, where settings are the same."""
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
    """Yields each part that can be taken over, with a query for its rows."""
    for slot in plan.slots:
        for name, columns in _SLOT_PARTS.items():
            drawn = " AND x IS NOT NULL" if name == "map" else ""
            yield plan.slot_part(slot, name), f"SELECT {columns} WHERE {_at(slot)}{drawn} ORDER BY feature"
    for layer in layers_with_any(plan):
        yield plan.part(f"{layer}.places"), f"SELECT {_PLACES} WHERE layer = '{layer}' ORDER BY feature"


def _at(slot: Slot) -> str:
    return f"layer = '{slot.layer}' AND token = '{slot.token}'"
