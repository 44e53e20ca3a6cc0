"""The describe stage against a brute-force twin, over a whole small index."""

import json
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest

from indexer.pipeline import run_index
from scopeview.importers import load_sae, read_suite
from scopeview.slots import ANY, EMBED, Slot
from scopeview.store.reader import DatabaseReader, IndexReader
from scopeview.store.records import Description, NeighborKind
from scopeview.vision.text import TextEncoder
from tests.indexer.describe.small import N_FEATURES, TWINS, WORDS, Plain, request, write_world

TEMPLATES = ("{}", "a picture of {}", "a photo of {}")


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_world(tmp_path_factory.mktemp("world"))


@pytest.fixture(scope="module")
def plain(world: Path, tmp_path_factory: pytest.TempPathFactory) -> Plain:
    out = tmp_path_factory.mktemp("out") / "index"
    run_index(request(world, out))
    return Plain.of(IndexReader(out))


def test_rows_say_what_the_databases_say(plain: Plain) -> None:
    """Of every feature, live or not; a figure that could not be worked out equals itself as text."""
    rows, slots = plain.reader, plain.reader.manifest.slots
    assert set(rows._feature_rows) == set(slots)
    with DatabaseReader(rows.index_dir) as databases:
        assert not databases._feature_rows
        for slot in slots:
            for feature in range(N_FEATURES):
                at = slot.layer, feature, slot.token
                assert repr(rows.feature(*at)) == repr(databases.feature(*at))
                assert repr(rows.description(slot, feature)) == repr(databases.description(slot, feature))


def described(plain: Plain, slot: Slot, feature: int) -> Description:
    found = plain.reader.description(slot, feature)
    assert found is not None
    return found


def every_active(plain: Plain) -> list[tuple[Slot, int]]:
    found = [(slot, feature) for slot in plain.reader.manifest.slots for feature in plain.active(slot)]
    assert len(found) > 60
    return found


def test_vectors_are_the_weighted_mean_of_the_top_images_less_that_of_all(plain: Plain) -> None:
    for slot in plain.reader.manifest.slots:
        stored = np.load(plain.reader.index_dir / "vectors" / f"{slot.name}.npy")
        assert stored.dtype == np.float16
        expected = np.stack([plain.vector(slot, feature) for feature in range(len(stored))])
        assert np.allclose(stored, expected, atol=2e-3)


def test_names_are_the_nearest_words_with_their_cosines(plain: Plain, world: Path) -> None:
    tower = TextEncoder.load(world / "model")
    words = np.mean([tower.embed([form.format(word) for word in WORDS]) for form in TEMPLATES], axis=0)
    words /= np.linalg.norm(words, axis=1, keepdims=True)
    for slot, feature in every_active(plain):
        cosines = words @ plain.vector(slot, feature)
        names = described(plain, slot, feature).names
        assert [name.score for name in names] == pytest.approx(sorted(cosines, reverse=True)[:5], abs=2e-3)
        assert all(name.score == pytest.approx(cosines[WORDS.index(name.word)], abs=2e-3) for name in names)


def test_clarity_is_the_mean_cosine_of_all_pairs_of_the_top_nine(plain: Plain) -> None:
    for slot, feature in every_active(plain):
        nine = [plain.units[image] for image, _ in plain.top(slot, feature)[:9]]
        expected = np.mean([a @ b for a, b in combinations(nine, 2)])
        assert described(plain, slot, feature).clarity == pytest.approx(expected, abs=1e-3)


def test_label_entropy_counts_activation_by_label_and_leaves_out_what_has_none(plain: Plain) -> None:
    for slot, feature in every_active(plain):
        mass = {str(label): 0.0 for label in (1, 2)}
        for image, value in plain.top(slot, feature):
            if image % 3:
                mass[str(image % 3)] += value
        shares = np.array([value for value in mass.values() if value]) / (sum(mass.values()) or 1)
        expected = -float(np.sum(shares * np.log(shares))) if len(shares) else None
        assert described(plain, slot, feature).label_entropy == pytest.approx(expected, abs=1e-5)


def brute_neighbors(scores: dict[int, float], k: int) -> list[float]:
    return sorted((score for score in scores.values() if score > 1e-6), reverse=True)[:k]


def expected_scores(
    plain: Plain, world: Path, kind: NeighborKind, slot: Slot, feature: int, other: Slot
) -> dict[int, float]:
    """Of every other active feature of a slot."""
    if kind == "vector":
        own = plain.vector(slot, feature)
        scores = {at: float(own @ plain.vector(other, at)) for at in plain.active(other)}
    elif kind == "cofiring":
        a, b = plain.firing[slot][:, feature] > 0, plain.firing[other] > 0
        scores = {at: float((a & b[:, at]).sum() / (a | b[:, at]).sum()) for at in plain.active(other)}
    else:
        rows = [
            load_sae(source).dec.numpy()
            for layer in (slot.layer, other.layer)
            for source in read_suite(str(world / "suite"), [layer]).sources
        ]
        a, b = (row / np.linalg.norm(row, axis=1, keepdims=True) for row in rows)
        scores = {at: float(a[feature] @ b[at]) for at in plain.active(other)}
    return {at: score for at, score in scores.items() if (other, at) != (slot, feature)}


@pytest.mark.parametrize("kind", ["decoder", "cofiring", "vector"])
def test_neighbors_are_the_best_of_all_active_features(plain: Plain, world: Path, kind: NeighborKind) -> None:
    for slot in plain.reader.manifest.slots:
        for feature in plain.active(slot)[::3]:
            found = described(plain, slot, feature)
            for other in (at for at in plain.reader.manifest.slots if at.token == slot.token):
                neighbors = [
                    neighbor
                    for neighbor in (found.within if other == slot else found.across)
                    if (neighbor.kind, neighbor.layer) == (kind, other.layer)
                ]
                if kind == "decoder" and other != slot and EMBED in (slot.layer, other.layer):
                    assert neighbors == []
                    continue
                scores = expected_scores(plain, world, kind, slot, feature, other)
                best = brute_neighbors(scores, 8 if other == slot else 3)
                assert [neighbor.score for neighbor in neighbors] == pytest.approx(best, abs=2e-3)
                for neighbor in neighbors:
                    assert neighbor.score == pytest.approx(scores[neighbor.feature], abs=2e-3)


def test_places_count_the_positions_of_the_maxima(plain: Plain) -> None:
    for layer in (1, 2):
        rows = plain.reader.sql(
            "SELECT feature, list(position) FROM activations WHERE layer = $layer AND token = 'any'"
            " GROUP BY feature",
            {"layer": str(layer)},
        )
        for feature, positions in rows:
            for token in ("cls", "5", ANY):
                found = described(plain, Slot(layer, token), feature)
                assert found.positions == [positions.count(patch) for patch in range(1, 17)]
                assert found.at_cls == positions.count(0)
    embedded = described(plain, Slot(EMBED, "cls"), plain.active(Slot(EMBED, "cls"))[0])
    assert (embedded.positions, embedded.at_cls, embedded.selectivity) == (None, None, None)


def test_one_file_twice_is_folded_and_other_looks_are_not(plain: Plain) -> None:
    folded = 0
    for slot in plain.reader.manifest.slots:
        for feature in range(40):
            images = [image for image, _ in plain.top(slot, feature)]
            folds = described(plain, slot, feature).folds
            assert len(folds) == len(images)
            firsts = [images[first - 1] for first in folds]
            assert all(image % 12 == first % 12 for image, first in zip(images, firsts, strict=True))
            if set(TWINS) <= set(images):
                folded += 1
                assert firsts[images.index(TWINS[0])] == firsts[images.index(TWINS[1])]
    assert folded


def test_every_active_feature_has_a_place_on_the_map(plain: Plain) -> None:
    for slot in plain.reader.manifest.slots:
        points = plain.reader.points(slot)
        assert points.feature.tolist() == plain.active(slot)
        places = np.stack([points.x, points.y])
        assert np.isfinite(places).all()
        assert places.min() >= 0
        assert places.max() <= 1


def test_a_feature_that_never_fires_has_an_empty_description(plain: Plain) -> None:
    slot = Slot(EMBED, "cls")
    dead = next(f for f in range(40) if not plain.top(slot, f))
    assert described(plain, slot, dead) == Description(
        [], None, None, None, None, None, [], [], [], None, None
    )


def test_the_manifest_and_the_run_name_the_vocabulary(plain: Plain) -> None:
    record = plain.reader.manifest.describe
    assert record is not None
    assert record.vocabulary is not None
    assert (record.vocabulary.name, record.vocabulary.n_words) == ("words.txt", len(WORDS))
    assert record.without_names is None
    run = json.loads((plain.reader.index_dir / "run.json").read_bytes())
    assert run["config"]["vocabulary"] == record.vocabulary.sha256
    assert record.cofiring_every == {"cls": 1, "5": 1, "any": 1}
