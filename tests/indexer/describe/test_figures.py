"""Each figure on arrays made for it, with answers worked out by hand or by brute force."""

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import sparse

from indexer.describe.cofiring import ActivationMatrix, nearest_cofiring
from indexer.describe.embeddings import Embeddings
from indexer.describe.layout import tsne_layout
from indexer.describe.names import nearest_words
from indexer.describe.near_duplicates import NearDuplicates
from indexer.describe.nearest import nearest_rows
from indexer.describe.top_images import SlotTopImages, clarity, feature_vectors, label_entropy, selectivity
from scopeview.images import ImageLimits, decode, encode_webp
from scopeview.store.vectors import unit_rows
from tests.indexer.describe.small import sample_image


def tops(
    images: list[list[int]], weights: list[list[float]], n_active: list[int] | None = None
) -> SlotTopImages:
    """Padded to the longest."""
    width = max(map(len, images))
    padded = [row + [0] * (width - len(row)) for row in images]
    heights = [row + [0.0] * (width - len(row)) for row in weights]
    return SlotTopImages(
        np.arange(len(images), dtype=np.int32),
        np.array(n_active or [9] * len(images), np.int32),
        np.array(padded, np.int32),
        np.array(heights, np.float32),
    )


def embeddings(*rows: list[float]) -> Embeddings:
    return Embeddings(np.array(rows, np.float16))


AXES = embeddings([2, 0], [0, 3], [1, 0], [0, -1])


def test_a_vector_is_the_weighted_mean_less_that_of_all() -> None:
    """Images 0 and 1 at 3 : 1 lie at (0.75, 0.25); all four at (0.5, 0)."""
    found = feature_vectors(tops([[0, 1], [1]], [[3, 1], [1]], [9, 8]), AXES, 3, min_images=9)
    assert found[0] == pytest.approx(np.array([1, 1]) / 2**0.5, abs=1e-3)
    assert not found[1:].any()  # fires on too few images; never fires


def test_a_feature_in_the_very_middle_has_no_direction() -> None:
    middle = embeddings([1, 0], [-1, 0])
    assert not feature_vectors(tops([[0, 1]], [[1, 1]]), middle, 1, min_images=9).any()


def test_clarity_of_images_alike_opposite_and_alone() -> None:
    found = clarity(tops([[0, 2], [1, 3], [0, 1, 2], [1]], [[1, 1], [1, 1], [1, 1, 1], [1]]), AXES, 9)
    assert found[:3] == pytest.approx([1, -1, 1 / 3], abs=1e-6)
    assert np.isnan(found[3])


def test_clarity_looks_at_the_first_images_alone() -> None:
    assert clarity(tops([[0, 2, 1]], [[3, 2, 1]]), AXES, 2) == pytest.approx([1])


def test_label_entropy_is_zero_for_one_label_and_ln_2_for_two_in_balance() -> None:
    labels = np.array([0, 1, 0, -1], np.int32)
    found = label_entropy(tops([[0, 2, 3], [0, 1], [3]], [[2, 1, 9], [1, 1], [1]]), labels)
    assert found[:2] == pytest.approx([0, np.log(2)])
    assert np.isnan(found[2])


@pytest.mark.parametrize(
    ("counts", "expected"),
    [
        ([[20] + [0] * 15], 1.0),
        ([[5] * 4 + [0] * 12], 1 + np.log(4 * 5 * 4 / (20 * 19)) / np.log(16)),
        ([[1] * 16], 0.0),  # no two images share a patch: less than chance would have it
        ([[8] + [0] * 15], np.nan),
    ],
)
def test_selectivity(counts: list[list[int]], expected: float) -> None:
    assert selectivity(np.array(counts, np.int32), 9) == pytest.approx([expected], nan_ok=True)


def test_selectivity_does_not_depend_on_how_many_images_there_are() -> None:
    draws = np.random.default_rng(0).multinomial([12, 100, 1000], np.full(256, 1 / 256), size=(400, 3))
    found = selectivity(draws.reshape(-1, 256).astype(np.int32), 9).reshape(400, 3).mean(axis=0)
    assert found.max() < 0.1
    a_row = np.where(np.arange(256) < 16, 1 / 16, 0)
    draws = np.random.default_rng(0).multinomial([40, 1000], a_row, size=(400, 2))
    found = selectivity(draws.reshape(-1, 256).astype(np.int32), 9).reshape(400, 2).mean(axis=0)
    assert found == pytest.approx([0.5, 0.5], abs=0.03)


def shown(images: list[bytes]) -> Callable[[int], bytes]:
    limits = ImageLimits(max_bytes=1 << 20)
    thumbs = [encode_webp(decode(one, limits).image) for one in images]
    return lambda image_id: thumbs[image_id]


def test_what_nearly_duplicates_a_duplicate_is_folded_with_it() -> None:
    """0, 12 and 24 look alike, and so do their embeddings; 1 looks different; 2 and 3 are one file."""
    rows = embeddings([10, 0], [10, 1], [10, 2], [10, 0], [0, 10], [1, 10])
    images = [sample_image(number) for number in (0, 12, 24, 1, 2, 3)]
    files = np.array([0, 1, 2, 3, 4, 4], np.int32)
    alike = NearDuplicates(rows, files, shown(images), 0.9, 10)
    found = alike.folds(tops([[2, 3, 0, 1, 4, 5], [5, 3]], [[6, 5, 4, 3, 2, 1], [2, 1]]))
    assert found.tolist() == [[1, 2, 1, 1, 5, 5], [1, 2, 3, 4, 5, 6]]


def test_images_alike_to_clip_alone_or_to_the_hash_alone_are_not_folded() -> None:
    images = [sample_image(number) for number in (0, 1, 12)]
    alone = NearDuplicates(
        embeddings([1, 0], [1, 0], [0, 1]), np.arange(3, dtype=np.int32), shown(images), 0.9, 10
    )
    assert alone.folds(tops([[0, 1, 2]], [[3, 2, 1]])).tolist() == [[1, 2, 3]]


@given(st.integers(1, 12), st.integers(1, 12), st.integers(1, 14), st.booleans(), st.integers(0, 9))
def test_the_nearest_rows_are_those_of_a_full_sort(n: int, m: int, k: int, same: bool, seed: int) -> None:
    draws = np.random.default_rng(seed)
    asking = unit_rows(draws.integers(-2, 3, (n, 3)).astype(np.float32))  # coarse: there are ties
    among = asking if same else unit_rows(draws.integers(-2, 3, (m, 3)).astype(np.float32))
    found = nearest_rows(asking, among, k, same=same)
    for row in range(n):
        cosines = asking[row] @ among.T
        others = [i for i in range(len(among)) if not (same and i == row) and cosines[i] > 1e-6]
        expected = sorted(others, key=lambda i: (-cosines[i], i))[:k]
        assert [float(cosines[i]) for i in found.rows[row] if i >= 0] == pytest.approx(
            [float(cosines[i]) for i in expected]
        )
        assert (found.rows[row] >= 0).sum() == len(expected)


@given(st.integers(0, 20), st.integers(1, 4), st.booleans())
def test_cofiring_is_the_jaccard_of_the_images(seed: int, least: int, same: bool) -> None:
    draws = np.random.default_rng(seed)
    a, b = (draws.random((8, 20)) < 0.3 for _ in range(2))
    b = a if same else b
    asking, among = (
        ActivationMatrix(sparse.csr_array(table.astype(np.int32)), table.sum(axis=1).astype(np.int32))
        for table in (a, b)
    )
    found = nearest_cofiring(asking, among, 3, least, same=same)
    for row in range(8):
        scores = {
            i: (a[row] & b[i]).sum() / (a[row] | b[i]).sum()
            for i in range(8)
            if min(a[row].sum(), b[i].sum()) >= least and not (same and i == row) and (a[row] & b[i]).any()
        }
        expected = sorted(scores, key=lambda i: (-scores[i], i))[:3]
        assert [i for i in found.rows[row] if i >= 0] == expected
        assert found.scores[row, : len(expected)] == pytest.approx([scores[i] for i in expected])


def test_equal_names_come_in_the_order_of_the_vocabulary() -> None:
    words = unit_rows(np.array([[0, 1], [1, 0], [1, 0], [1, 1]], np.float32))
    found = nearest_words(np.array([[1, 0]], np.float32), words, 3)
    assert found.words.tolist() == [[1, 2, 3]]
    assert found.scores[0] == pytest.approx([1, 1, 0.5**0.5])


@pytest.mark.parametrize("n_points", [0, 1, 2, 49, 120])
def test_a_map_lies_in_the_unit_square_and_is_the_same_again(n_points: int) -> None:
    points = unit_rows(np.random.default_rng(0).normal(size=(n_points, 6)).astype(np.float32))
    found = tsne_layout(points, perplexity=30, iterations=40, seed=0)
    assert found.shape == (n_points, 2)
    assert np.isfinite(found).all()
    assert ((found >= 0) & (found <= 1)).all()
    assert np.array_equal(found, tsne_layout(points, perplexity=30, iterations=40, seed=0))


def test_a_map_keeps_three_heaps_apart() -> None:
    heaps = np.repeat(np.eye(3, 8, dtype=np.float32), 40, axis=0)
    noise = 0.1 * np.random.default_rng(0).normal(size=heaps.shape).astype(np.float32)
    places = tsne_layout(unit_rows(heaps + noise), perplexity=10, iterations=250, seed=0).reshape(3, 40, 2)
    middles = places.mean(axis=1)
    within = np.linalg.norm(places - middles[:, None], axis=2).max()
    apart = min(float(np.linalg.norm(middles[i] - middles[j])) for i, j in ((0, 1), (0, 2), (1, 2)))
    assert apart > 2 * within
