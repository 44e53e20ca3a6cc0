"""Datasette over the same feature table: how a general data browser performs on it, on the same core."""

import json
import sqlite3
import sys
from pathlib import Path

from scopeview.slots import Slot
from scopeview.store.reader import IndexReader

_TABLE = """
CREATE TABLE features (
  feature INTEGER PRIMARY KEY, n_active INTEGER NOT NULL, density REAL NOT NULL, sum REAL NOT NULL, max REAL,
  histogram TEXT NOT NULL, top_images TEXT NOT NULL, top_values TEXT NOT NULL
)
"""


def export(reader: IndexReader, slot: Slot, path: Path) -> None:
    """Writes the slot's rows of `features` as a SQLite table; lists as JSON, since SQLite has no lists."""
    path.unlink(missing_ok=True)
    rows = reader.sql(
        "SELECT feature, n_active, sum, max, histogram, top_images, top_values FROM features"
        " WHERE layer = $layer AND token = $token ORDER BY feature",
        {"layer": str(slot.layer), "token": slot.token},
    )
    n_images = reader.manifest.n_images
    with sqlite3.connect(path) as database:
        database.execute(_TABLE)
        database.executemany(
            "INSERT INTO features VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            (
                (feature, n, n / n_images, total, highest, *(json.dumps(each) for each in lists))
                for feature, n, total, highest, *lists in rows
            ),
        )
    database.close()


def command(database: Path) -> list[str]:
    """Returns the command. The database is immutable, which spares Datasette its checks for changes."""
    return [sys.executable, "-m", "datasette", "serve", "--immutable", str(database)]


def row_path(database: Path, feature: int) -> str:
    """Returns the path of the HTML page of one row."""
    return f"/{database.stem}/features/{feature}"
