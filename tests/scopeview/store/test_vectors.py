"""Search by vector finds what comparing everything finds, with or without files to read it from."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scopeview.errors import IndexFormatError
from scopeview.slots import Slot
from scopeview.store.files import image_vectors, slot_vectors
from scopeview.store.vectors import Modality, Vectors, exact_index, faiss, large_index, unit_rows

CLS = Slot(3, "cls")
N, WIDTH = 200, 16
ROWS = np.random.default_rng(0).normal(size=(N, WIDTH)).astype(np.float16)
Rows = np.ndarray[tuple[int, int], np.dtype[np.float16]]
Vector = np.ndarray[tuple[int], np.dtype[np.float32]]


def vectors(folder: Path, rows: Rows = ROWS, mean: Vector | None = None) -> Vectors:
    means: dict[Modality, Vector] = {} if mean is None else {"image": mean}
    return Vectors(folder, lambda: rows, lambda: means)


def write_slot(folder: Path, rows: Rows = ROWS) -> None:
    path = slot_vectors(folder, CLS)
    path.parent.mkdir(exist_ok=True)
    np.save(path, rows)


def brute(rows: Rows, vector: Vector, k: int) -> list[int]:
    cosines = unit_rows(rows) @ vector
    return [int(at) for at in np.lexsort((np.arange(len(rows)), -cosines)) if rows[at].any()][:k]


@pytest.mark.parametrize("written", [False, True])
def test_images_are_found_by_their_embeddings(tmp_path: Path, written: bool) -> None:
    if written:
        image_vectors(tmp_path).parent.mkdir()
        index = exact_index(WIDTH)
        index.add(unit_rows(ROWS))
        faiss().write_index(index, str(image_vectors(tmp_path)))
    images = vectors(tmp_path).images()
    assert (images.kind, len(images)) == ("exact", N)
    for at in range(0, N, 20):
        found = images.nearest(3 * ROWS[at], 5)
        assert [hit.number for hit in found] == brute(ROWS, ROWS[at].astype(np.float32), 5)
        assert found[0].cosine == pytest.approx(1, abs=2e-3)


def test_features_that_are_not_active_are_not_found(tmp_path: Path) -> None:
    rows = ROWS.copy()
    rows[::3] = 0
    write_slot(tmp_path, rows)
    features = vectors(tmp_path).features(CLS)
    assert len(features) == np.count_nonzero(rows.any(axis=1))
    found = [hit.number for hit in features.nearest(ROWS[4].astype(np.float32), N)]
    assert found[0] == 4
    assert sorted(found) == np.flatnonzero(rows.any(axis=1)).tolist()


def test_a_slot_that_was_not_described_finds_nothing(tmp_path: Path) -> None:
    features = vectors(tmp_path).features(CLS)
    assert len(features) == 0
    assert features.nearest(ROWS[0].astype(np.float32), 5) == []


@pytest.mark.parametrize("value", [0.0, np.nan, np.inf])
def test_a_vector_without_a_direction_finds_nothing(tmp_path: Path, value: float) -> None:
    assert vectors(tmp_path).images().nearest(np.full(WIDTH, value, np.float32), 5) == []


def test_equal_vectors_come_by_number(tmp_path: Path) -> None:
    rows = np.tile(ROWS[:1], (6, 1))
    assert [hit.number for hit in vectors(tmp_path, rows).images().nearest(ROWS[0], 6)] == [*range(6)]


def test_an_image_is_centred_on_the_mean_image_and_a_text_is_not(tmp_path: Path) -> None:
    mean = np.zeros(WIDTH, np.float32)
    mean[0] = 0.5
    search = vectors(tmp_path, mean=mean)
    ones = np.ones(WIDTH, np.float32)
    expected = ones / 4 - mean
    assert search.centred(ones, "image") == pytest.approx(expected / np.linalg.norm(expected))
    assert search.centred(ones, "text") == pytest.approx(ones / 4)
    assert vectors(tmp_path).centred(ones, "image") == pytest.approx(ones / 4)


def test_a_large_index_says_what_it_is_and_finds_a_vector_itself(tmp_path: Path) -> None:
    unit = unit_rows(np.random.default_rng(1).normal(size=(3000, WIDTH)))
    index = large_index(unit[::2], len(unit))
    index.add(unit)
    image_vectors(tmp_path).parent.mkdir()
    faiss().write_index(index, str(image_vectors(tmp_path)))
    images = vectors(tmp_path).images()
    assert (images.kind, len(images)) == ("ivf", 3000)
    assert [images.nearest(unit[at], 1)[0].number for at in range(0, 3000, 300)] == [*range(0, 3000, 300)]


@pytest.mark.parametrize("spoil", [lambda b: b[: len(b) // 2], lambda _: b"", lambda b: b"IxF2" + b[4:9]])
def test_torn_files_are_named(tmp_path: Path, spoil: Callable[[bytes], bytes]) -> None:
    write_slot(tmp_path)
    index = exact_index(WIDTH)
    index.add(unit_rows(ROWS))
    faiss().write_index(index, str(image_vectors(tmp_path)))
    for path in (slot_vectors(tmp_path, CLS), image_vectors(tmp_path)):
        path.write_bytes(spoil(path.read_bytes()))
    search = vectors(tmp_path)
    with pytest.raises(IndexFormatError, match=r"3-cls\.npy .*scopeview describe"):
        search.features(CLS)
    with pytest.raises(IndexFormatError, match=r"images\.faiss .*scopeview describe"):
        search.images()


@given(st.integers(1, 30), st.integers(0, 40), st.integers(0, 5))
def test_no_more_are_found_than_there_are(n: int, k: int, seed: int) -> None:
    rows = np.random.default_rng(seed).normal(size=(n, 4)).astype(np.float16)
    found = Vectors(Path("nowhere"), lambda: rows, dict).images().nearest(rows[0], k)
    expected = brute(rows, rows[0].astype(np.float32), k)
    # Cosines and not numbers: in half precision two that are all but equal may swap.
    cosines = unit_rows(rows) @ unit_rows(rows[:1])[0]
    assert [hit.cosine for hit in found] == pytest.approx(cosines[expected], abs=2e-3)


def test_a_slot_without_an_active_feature_finds_nothing(tmp_path: Path) -> None:
    write_slot(tmp_path, np.zeros_like(ROWS))
    features = vectors(tmp_path).features(CLS)
    assert len(features) == 0
    assert features.nearest(ROWS[0].astype(np.float32), 5) == []
