"""Descriptions of every active feature, as the describe stage leaves them, but at random.

Words are the project's own vocabulary. Nothing is computed, so that a million features take a minute.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path

import duckdb
import numpy as np
import pyarrow as pa
from jaxtyping import Bool, Float32, Int32, Shaped

from bench.synthetic.spec import Spec
from indexer.build import TOP_N
from scopeview.progress import task
from scopeview.slots import Slot
from scopeview.store.duckdb_paths import attach_new
from scopeview.store.files import atomic_write, image_vectors, slot_vectors
from scopeview.store.manifest import DescribeRecord, Manifest, VocabularyRecord
from scopeview.store.reader import IndexReader
from scopeview.store.records import NEIGHBOR_KINDS, Points
from scopeview.store.schema import DESCRIBED_TABLES
from scopeview.store.vectors import exact_index, faiss, unit_rows
from scopeview.vision.vocabulary import Vocabulary, read_vocabulary

N_NAMES, N_WITHIN, N_ACROSS = 5, 8, 3
_CHUNK = 8192


def describe(index_dir: Path, spec: Spec, manifest: Manifest) -> DescribeRecord:
    """Writes the vectors and the database if they are missing."""
    vocabulary = read_vocabulary()
    database = index_dir / spec.database.replace("scope-", "described-")
    with IndexReader(index_dir, manifest) as reader:
        _image_index(reader)
        if not database.exists():
            _database(reader, spec, vocabulary, database)
    return DescribeRecord(
        database=database.name,
        vocabulary=VocabularyRecord(
            name=vocabulary.name, sha256=vocabulary.sha256, n_words=len(vocabulary.words)
        ),
        without_names=None,
        settings={"synthetic": True},
        cofiring_every=dict.fromkeys(spec.tokens, 1),
    )


def _database(reader: IndexReader, spec: Spec, vocabulary: Vocabulary, database: Path) -> None:
    with (
        atomic_write(database) as part,
        duckdb.connect(":memory:") as connection,
        task("describe", len(spec.slots), "slots") as progress,
    ):
        attach_new(connection, part, "described")
        connection.execute(DESCRIBED_TABLES)
        for slot in spec.slots:
            points = reader.points(slot)
            active = points.feature
            generator = np.random.default_rng([spec.seed, 5, spec.slots.index(slot)])
            _insert(connection, "features", _features(generator, slot, points, vocabulary.words))
            for rows in _neighbors(generator, spec, slot, active):
                _insert(connection, "neighbors", rows)
            _vectors(generator, reader.index_dir, spec, slot, active)
            progress.advance()
        for name, rows in _words(np.random.default_rng([spec.seed, 6]), spec, vocabulary.words):
            _insert(connection, name, rows)
        connection.execute("DETACH described")


def _insert(connection: duckdb.DuckDBPyConnection, table: str, rows: pa.Table) -> None:
    connection.register("rows", rows)
    connection.execute(f"INSERT INTO described.{table} SELECT * FROM rows")
    connection.unregister("rows")


def _features(generator: np.random.Generator, slot: Slot, points: Points, words: Sequence[str]) -> pa.Table:
    """Returns random descriptions. No two top images are alike: each folds into itself."""
    n = len(points.feature)
    n_top = np.minimum(points.n_active, TOP_N)
    own_rank = np.tile(np.arange(1, TOP_N + 1, dtype=np.int8), (n, 1))
    named = np.array(words, dtype=object)[generator.integers(0, len(words), (n, N_NAMES))]
    nothing = pa.nulls(n, pa.float32())
    columns = {
        "names": _lists(named, pa.string()),
        "name_scores": _lists(_falling(generator, n, N_NAMES), pa.float32()),
        "clarity": generator.random(n, np.float32),
        "label_entropy": nothing,
        "selectivity": nothing,
        "folds": _ragged(own_rank, np.arange(TOP_N) < n_top[:, None]),
        "x": generator.random(n, np.float32),
        "y": generator.random(n, np.float32),
    }
    return pa.table({**_key(slot, points.feature), **columns})


def _neighbors(
    generator: np.random.Generator, spec: Spec, slot: Slot, active: Int32[np.ndarray, " active"]
) -> Iterator[pa.Table]:
    """Yields random neighbors by feature, kind and layer; a part at a time."""
    layers = sorted(map(str, spec.layers))
    for start in range(0, len(active), _CHUNK):
        some = active[start : start + _CHUNK]
        pairs = [(kind, layer) for kind in sorted(NEIGHBOR_KINDS) for layer in layers]
        lengths = np.array([N_WITHIN if layer == str(slot.layer) else N_ACROSS for _, layer in pairs])
        kept = np.tile(np.arange(N_WITHIN) < lengths[:, None], (len(some), 1))
        n_rows = len(some) * len(pairs)
        others = active[generator.integers(0, len(active), (n_rows, N_WITHIN))]
        columns = {
            "kind": pa.array([kind for kind, _ in pairs] * len(some)),
            "other_layer": pa.array([layer for _, layer in pairs] * len(some)),
            "features": _ragged(others, kept),
            "scores": _ragged(_falling(generator, n_rows, N_WITHIN), kept),
        }
        yield pa.table({**_key(slot, np.repeat(some, len(pairs))), **columns})


def _words(
    generator: np.random.Generator, spec: Spec, words: Sequence[str]
) -> Iterator[tuple[str, pa.Table]]:
    vectors = _unit(generator, len(words), spec.projection_dim)
    means = _unit(generator, 2, spec.projection_dim) / 2
    yield "words", pa.table({"word": pa.array(words), "embedding": _lists(vectors, pa.float32())})
    yield "means", pa.table({"of": pa.array(["image", "text"]), "mean": _lists(means, pa.float32())})


def _vectors(
    generator: np.random.Generator,
    index_dir: Path,
    spec: Spec,
    slot: Slot,
    active: Int32[np.ndarray, " active"],
) -> None:
    vectors = np.zeros((spec.n_features, spec.projection_dim), np.float16)
    vectors[active] = _unit(generator, len(active), spec.projection_dim)
    with atomic_write(slot_vectors(index_dir, slot)) as part, part.open("wb") as file:
        np.save(file, vectors)


def _image_index(reader: IndexReader) -> None:
    path = image_vectors(reader.index_dir)
    if path.exists():
        return
    embeddings = reader.embeddings()
    index = exact_index(embeddings.shape[1])
    for start in range(0, len(embeddings), _CHUNK):
        index.add(unit_rows(embeddings[start : start + _CHUNK]))
    with atomic_write(path) as part:
        faiss().write_index(index, str(part))


def _key(slot: Slot, features: Int32[np.ndarray, " row"]) -> dict[str, pa.Array]:
    n = len(features)
    return {"layer": pa.repeat(str(slot.layer), n), "token": pa.repeat(slot.token, n), "feature": features}


def _ragged(values: Shaped[np.ndarray, "row rank"], kept: Bool[np.ndarray, "row rank"]) -> pa.Array:
    """Keeps the marked values of each row."""
    offsets = np.concatenate([[0], np.cumsum(kept.sum(axis=1))]).astype(np.int32)
    return pa.ListArray.from_arrays(pa.array(offsets), pa.array(values[kept]))


def _lists(values: Shaped[np.ndarray, "row rank"], kind: pa.DataType) -> pa.Array:
    offsets = np.arange(0, values.size + 1, values.shape[1], dtype=np.int32)
    return pa.ListArray.from_arrays(pa.array(offsets), pa.array(values.ravel(), kind))


def _falling(generator: np.random.Generator, n: int, width: int) -> Float32[np.ndarray, "row rank"]:
    """Returns rows of scores in [0, 1), the highest first."""
    scores: Float32[np.ndarray, "row rank"] = -np.sort(-generator.random((n, width), np.float32), axis=1)
    return scores


def _unit(generator: np.random.Generator, n: int, width: int) -> Float32[np.ndarray, "row width"]:
    return unit_rows(generator.standard_normal((n, width), np.float32))
