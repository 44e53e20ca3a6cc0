"""The files that encode writes for one source shard, and the only code that writes or reads them.

A shard is written into `NNNNN.part/`, and the folder is renamed once all of it is on disk: a folder without
the suffix is complete. See `data/README.md` for the files.
"""

import json
import os
import shutil
from collections.abc import Sequence
from concurrent.futures import Executor
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from jaxtyping import Float16, Shaped

from scopeview.slots import Slot
from scopeview.store.files import (
    LOCAL,
    SHARD_MARKER,
    codes_file,
    naming,
    shard_dir,
    sync_folder,
    write_json,
)
from scopeview.store.pack import PackWriter
from scopeview.vision.encoder import Encoded, SlotCodes

_FLUSH_PAIRS = 1_000_000

_CODES = pa.schema(
    [
        ("shard_row", pa.int32()),
        ("features", pa.list_(pa.int32())),
        ("activations", pa.list_(pa.float32())),
        ("positions", pa.list_(pa.int16())),
    ]
)
_IMAGES = pa.schema(
    [
        ("shard_row", pa.int32()),
        ("key", pa.string()),
        ("caption", pa.string()),
        ("source_url", pa.string()),
        ("label", pa.string()),
        ("width", pa.int32()),
        ("height", pa.int32()),
        ("sha256", pa.string()),
        ("punsafe", pa.float32()),
        ("pwatermark", pa.float32()),
    ]
)


class ImageEntry(NamedTuple):
    """One image's row in `images.parquet`, without its row number."""

    key: str
    caption: str | None
    source_url: str | None
    label: str | None
    width: int
    height: int
    sha256: str
    punsafe: float | None
    pwatermark: float | None


@dataclass(frozen=True)
class ShardMarker:
    """The content of `shard.json`: the result of one shard."""

    name: str
    fingerprint: str
    n_seen: int  # samples, good and bad
    n_images: int
    bad: list[dict[str, Any]] = field(default_factory=list)  # key, reason, detail, n_samples
    notes: list[dict[str, Any]] = field(default_factory=list)  # images kept although something was amiss
    blocked: list[dict[str, str]] = field(default_factory=list)  # key, sha256, rule
    taken: dict[str, dict[str, int]] = field(default_factory=dict)  # caption, ... -> file or column -> images
    unused: dict[str, int] = field(default_factory=dict)  # file or column that was not used -> images


class ShardWriter:
    """Collects the encoded batches of one shard; a context manager that keeps all of it or nothing."""

    def __init__(
        self, index_dir: Path, shard: int, slots: Sequence[Slot], pool: Executor | None = None
    ) -> None:
        """If `pool` is given, several threads write the slots at once."""
        self._map = map if pool is None else pool.map
        self._final = shard_dir(index_dir, shard)
        self._part = self._final.with_name(self._final.name + ".part")
        self._slots = slots
        self._entries: list[ImageEntry] = []
        self._embeddings: list[Float16[np.ndarray, "batch projection"]] = []
        self._stack = ExitStack()

    def __enter__(self) -> "ShardWriter":
        shutil.rmtree(self._part, ignore_errors=True)
        if not (self._final / SHARD_MARKER).exists():  # half of one that was fetched from elsewhere
            shutil.rmtree(self._final, ignore_errors=True)
        self._part.mkdir(parents=True)
        self._thumbs = self._stack.enter_context(PackWriter(self._part / "thumbs.pack"))
        self._codes = {
            slot: self._stack.enter_context(_CodesWriter(codes_file(self._part, slot)))
            for slot in self._slots
        }
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        if kind is None:
            self._stack.close()
            return
        for codes in self._codes.values():
            codes.drop()
        try:
            self._stack.close()
        except OSError:
            pass  # of a full disk: what was wrong is on its way already
        finally:
            shutil.rmtree(self._part, ignore_errors=True)

    @property
    def n_images(self) -> int:
        return len(self._entries)

    def add(self, entries: Sequence[ImageEntry], thumbs: Sequence[bytes], encoded: Encoded) -> None:
        """Appends a batch; all its images are kept."""
        first_row = self.n_images
        list(self._map(lambda slot: self._codes[slot].add(encoded.codes[slot], first_row), encoded.codes))
        for thumb in thumbs:
            self._thumbs.append(thumb)
        self._entries.extend(entries)
        self._embeddings.append(encoded.embeddings)

    def finish(self, marker: ShardMarker, projection_dim: int) -> None:
        """Writes the rest, the marker last, and renames the folder into place."""
        self._stack.close()
        rows = [{"shard_row": i, **entry._asdict()} for i, entry in enumerate(self._entries)]
        images = self._part / "images.parquet"
        with naming(images):
            table = pa.Table.from_pylist(rows, _IMAGES)
            pq.write_table(table, images, filesystem=LOCAL, compression="zstd")
        empty = np.empty((0, projection_dim), np.float16)
        with naming(self._part / "embeddings.npy") as path:
            np.save(path, np.concatenate([empty, *self._embeddings]))
        for path in self._part.iterdir():
            with path.open("rb") as handle:
                os.fsync(handle.fileno())
        write_json(self._part / SHARD_MARKER, asdict(marker))
        self._part.rename(self._final)
        sync_folder(self._final.parent)


class _CodesWriter:
    """Appends the codes of one slot, and writes a row group for every million pairs or so."""

    def __init__(self, path: Path) -> None:
        self._path = path
        with naming(path):
            self._writer = pq.ParquetWriter(path, _CODES, filesystem=LOCAL, compression="zstd")
        self._tables: list[pa.Table] = []
        self._n_pairs = 0

    def __enter__(self) -> "_CodesWriter":
        return self

    def __exit__(self, *_: object) -> None:
        with naming(self._path):
            self._flush()
            self._writer.close()

    def drop(self) -> None:
        """Discards pairs not yet written."""
        self._tables, self._n_pairs = [], 0

    def add(self, codes: SlotCodes, first_row: int) -> None:
        self._tables.append(_codes_table(codes, first_row))
        self._n_pairs += len(codes.features)
        if self._n_pairs >= _FLUSH_PAIRS:
            with naming(self._path):
                self._flush()

    def _flush(self) -> None:
        if self._tables:
            self._writer.write_table(pa.concat_tables(self._tables), row_group_size=1 << 20)
        self._tables, self._n_pairs = [], 0


def read_marker(index_dir: Path, shard: int) -> ShardMarker | None:
    """The marker of a finished shard; None if the shard is not finished."""
    try:
        return parse_marker((shard_dir(index_dir, shard) / SHARD_MARKER).read_bytes())
    except FileNotFoundError:
        return None


def parse_marker(content: str | bytes) -> ShardMarker:
    """Parses the content of `shard.json`."""
    return ShardMarker(**json.loads(content))


def _codes_table(codes: SlotCodes, first_row: int) -> pa.Table:
    offsets = np.concatenate([[0], np.cumsum(codes.lengths)]).astype(np.int32)

    def as_lists(values: Shaped[np.ndarray, " pairs"]) -> pa.Array:
        return pa.ListArray.from_arrays(pa.array(offsets), pa.array(values))

    n = len(codes.lengths)
    positions = pa.nulls(n, pa.list_(pa.int16())) if codes.positions is None else as_lists(codes.positions)
    rows = pa.array(np.arange(first_row, first_row + n, dtype=np.int32))
    return pa.Table.from_arrays(
        [rows, as_lists(codes.features), as_lists(codes.values), positions], schema=_CODES
    )
