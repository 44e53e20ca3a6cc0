"""Indexes changed by hand, as only a test does it: their manifest says so, or says nothing about files."""

import json
from pathlib import Path
from typing import Any

from indexer.checksums import with_files
from scopeview.store.files import MANIFEST, write_sealed_json
from scopeview.store.manifest import read_manifest, write_manifest


def without_checksums(index_dir: Path) -> Path:
    """As version 2 left it."""
    for path in index_dir.rglob("*.checksums.npy"):
        path.unlink()
    change_json(index_dir / MANIFEST, version=2, files=None)
    return index_dir


def with_new_checksums(index_dir: Path) -> Path:
    """The files as they are now are those of the manifest."""
    write_manifest(index_dir, with_files(index_dir, read_manifest(index_dir)))
    return index_dir


def change_json(path: Path, **fields: Any) -> None:
    """Of a file that holds its own sha256, which is right afterwards."""
    content = json.loads(path.read_bytes())
    content.pop("sha256", None)
    write_sealed_json(path, {**content, **fields})
