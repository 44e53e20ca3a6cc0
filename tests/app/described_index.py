"""The small index with descriptions beside it, written by hand: names, clarities, places on the map."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb

from scopeview.slots import EMBED, Slot
from scopeview.store.manifest import DescribeRecord, VocabularyRecord, read_manifest, write_manifest
from scopeview.store.records import MIN_GRID_IMAGES
from scopeview.store.schema import DESCRIBED_TABLES
from tests.app.index import N_FEATURES, SmallIndex, insert_rows, write_index

NAMES = ["red heart", "night", "<b>striped</b> blue", "Blue fish", "مرحبا"]
WITHOUT_CLARITY = 3
"""Its clarity could not be computed."""


@dataclass(frozen=True)
class Told:
    """What was written of one active feature."""

    names: list[str]
    scores: list[float]
    clarity: float | None
    selectivity: float | None
    x: float
    y: float


def told(slot: Slot, feature: int) -> Told:
    """Quarters and eighths, so that they survive as 32-bit floats; the same for the same feature."""
    return Told(
        names=[NAMES[feature % 5], NAMES[(feature + 1) % 5]],
        scores=[0.5 - feature % 7 / 16, 0.03125],
        clarity=None if feature == WITHOUT_CLARITY else 0.25 + feature % 11 / 16,
        selectivity=None if slot.layer == EMBED else feature % 9 / 8,
        x=feature % 10 / 8 / 2,
        y=feature % 8 / 8,
    )


def write_described_index(index_dir: Path, *, slug: str = "told") -> SmallIndex:
    small = write_index(index_dir, slug=slug)
    database = "described-00000000.duckdb"
    manifest = read_manifest(index_dir)
    with duckdb.connect() as connection:
        connection.execute(f"ATTACH '{index_dir / database}' AS described; {DESCRIBED_TABLES}")
        rows = [_row(slot, feature) for slot in manifest.slots for feature in active(small, slot)]
        insert_rows(connection, "described.features", rows)
    vocabulary = VocabularyRecord(name="words.txt", sha256="d" * 64, n_words=len(NAMES))
    record = DescribeRecord(
        database=database, vocabulary=vocabulary, without_names=None, settings={}, cofiring_every={}
    )
    write_manifest(index_dir, manifest.model_copy(update={"describe": record}))
    return small


def active(small: SmallIndex, slot: Slot) -> list[int]:
    """Features of the slot that fire on at least nine images."""
    n_active = (small.dense[slot] > 0).sum(axis=0)
    return [feature for feature in range(N_FEATURES) if n_active[feature] >= MIN_GRID_IMAGES]


def _row(slot: Slot, feature: int) -> list[Any]:
    of = told(slot, feature)
    folds = list(range(1, 10))
    at = [str(slot.layer), slot.token, feature]
    return [*at, of.names, of.scores, of.clarity, None, of.selectivity, folds, of.x, of.y]
