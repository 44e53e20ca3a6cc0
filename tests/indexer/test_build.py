"""The database is what brute force makes of the shards' codes: ties, NULLs, empty shards, ReLU and all."""

import itertools
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from indexer.build import TOP_N, BuildPlan, LayerWidth, build_slot, write_database
from indexer.shard_writer import ImageEntry, ShardMarker, ShardWriter
from scopeview.slots import Layer, Slot
from scopeview.vision.encoder import Encoded, SlotCodes
from tests.indexer import twin

N_FEATURES = 5
CLS, ANY, EMBED = Slot(3, "cls"), Slot(3, "any"), Slot("embed", "cls")

Pairs = list[tuple[int, float]]
"""One image's (feature, activation) pairs, strongest first."""


def slot_codes(images: Sequence[Pairs], positions: bool) -> SlotCodes:
    """Positions, where there are any, are feature + 10."""
    pairs = list(itertools.chain.from_iterable(images))
    features = np.array([feature for feature, _ in pairs], dtype=np.int32)
    return SlotCodes(
        np.array([len(image) for image in images], dtype=np.int32),
        features,
        np.array([value for _, value in pairs], dtype=np.float32),
        (features + 10).astype(np.int16) if positions else None,
    )


def plan_of(
    index_dir: Path, shards: Sequence[Sequence[Pairs]], slots: Sequence[Slot], *, k: int | None = 3
) -> BuildPlan:
    """The same codes at every slot; image i of shard s has the key `s/i`."""
    markers = []
    for number, images in enumerate(shards):
        marker = ShardMarker(f"shard {number}", "0", len(images), len(images))
        with ShardWriter(index_dir, number, slots) as writer:
            codes = {slot: slot_codes(images, slot.token == "any") for slot in slots}
            entries = [
                ImageEntry(f"{number}/{i}", None, None, None, 1, 1, "", None, None)
                for i in range(len(images))
            ]
            if images:
                ones = np.ones(len(images), dtype=bool)
                encoded = Encoded(codes, np.zeros((len(images), 4), np.float16), ones)
                writer.add(entries, [b"thumb"] * len(images), encoded)
            writer.finish(marker, projection_dim=4)
        markers.append(marker)
    widths: dict[Layer, LayerWidth] = {slot.layer: LayerWidth(N_FEATURES, k) for slot in slots}
    return BuildPlan(index_dir, markers, slots, widths)


def built(plan: BuildPlan) -> Path:
    for slot in plan.slots:
        build_slot(plan, slot)
    database = plan.index_dir / "scope.duckdb"
    write_database(plan, database)
    return database


def ask(database: Path, sql: str) -> list[tuple[Any, ...]]:
    with duckdb.connect(str(database), read_only=True) as connection:
        return connection.execute(sql).fetchall()


def dense(shards: Sequence[Sequence[Pairs]]) -> twin.Dense:
    images = [image for shard in shards for image in shard]
    return twin.dense(slot_codes(images, positions=False), N_FEATURES)


def an_image(values: st.SearchStrategy[float]) -> st.SearchStrategy[Pairs]:
    features = st.dictionaries(st.integers(0, N_FEATURES - 1), values, max_size=N_FEATURES)
    return features.map(lambda found: sorted(found.items(), key=lambda pair: (-pair[1], pair[0])))


few_values = st.sampled_from([-1.0, 0.0, 0.5, 1.0, 2.0])
any_float = st.floats(-1, 2.0**20, width=32, allow_subnormal=False)
some_shards = st.lists(st.lists(an_image(few_values | any_float), max_size=12), min_size=1, max_size=3)


@settings(max_examples=10)
@given(some_shards)
def test_features_equal_the_twin(shards: list[list[Pairs]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        found = ask(
            built(plan_of(Path(folder), shards, [ANY])), "SELECT * EXCLUDE (layer, token) FROM features"
        )
    table = dense(shards)
    assert [row[0] for row in found] == [*range(N_FEATURES)]
    for feature, n_active, total, highest, histogram, images, values, positions in found:
        expected = twin.feature(table[:, feature])
        assert (n_active, highest, histogram) == (expected.n_active, expected.highest, expected.histogram)
        assert total == pytest.approx(expected.total, abs=1e-9)
        assert images == expected.ranking[:TOP_N]
        assert values == table[images, feature].tolist()
        assert positions == [feature + 10] * len(images)


@settings(max_examples=5)
@given(some_shards)
def test_activations_are_every_value_above_zero_in_rank_order(shards: list[list[Pairs]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        found = ask(built(plan_of(Path(folder), shards, [CLS, ANY])), "SELECT * FROM activations")
    table = dense(shards)
    assert found == [
        ("3", token, feature, table[image, feature], image, feature + 10 if token == "any" else None)
        for token in ("cls", "any")
        for feature in range(N_FEATURES)
        for image in twin.feature(table[:, feature]).ranking
    ]


SHARDS: list[list[Pairs]] = [
    [[(4, 2.0), (0, 1.0), (1, -1.0)], []],
    [],  # a shard of which no image was kept
    [[(0, 3.0), (2, 2.0), (4, 1.0), (3, 0.5)]],
]


def test_image_ids_count_on_over_empty_shards(tmp_path: Path) -> None:
    found = ask(built(plan_of(tmp_path, SHARDS, [CLS])), "SELECT image_id, shard, shard_row, key FROM images")
    assert found == [(0, 0, 0, "0/0"), (1, 0, 1, "0/1"), (2, 2, 0, "2/0")]


def test_codes_are_by_image_and_slot_and_cut_to_k(tmp_path: Path) -> None:
    found = ask(built(plan_of(tmp_path, SHARDS, [ANY, CLS, EMBED])), "SELECT * FROM codes")
    assert [row[:3] for row in found] == [
        (image, layer, token)
        for image in range(3)
        for layer, token in (("3", "any"), ("3", "cls"), ("embed", "cls"))
    ]
    assert found[0][3:] == (2, [4, 0, 1], [2.0, 1.0, -1.0], [14, 10, 11])  # kept, though one does not fire
    assert found[1][3:] == (2, [4, 0, 1], [2.0, 1.0, -1.0], None)
    assert found[3][3:] == (0, [], [], [])
    assert found[6][3:] == (4, [0, 2, 4], [3.0, 2.0, 1.0], [10, 12, 14])


def test_the_codes_of_a_relu_sae_are_kept_whole(tmp_path: Path) -> None:
    plan = plan_of(tmp_path, SHARDS, [ANY], k=None)
    (found,) = ask(built(plan), "SELECT n_active, features FROM codes WHERE image_id = 2")
    assert found == (4, [0, 2, 4, 3])


def test_an_index_in_which_nothing_fires_has_its_features(tmp_path: Path) -> None:
    database = built(plan_of(tmp_path, [[[(0, -1.0)], []]], [CLS]))
    assert ask(database, "SELECT DISTINCT n_active, sum, max, histogram, top_images FROM features") == [
        (0, 0.0, None, [], [])
    ]
    assert ask(database, "SELECT count(*) FROM features") == [(N_FEATURES,)]
    assert ask(database, "SELECT count(*) FROM activations") == [(0,)]


def test_of_many_equal_activations_the_first_images_are_the_top(tmp_path: Path) -> None:
    shards: list[list[Pairs]] = [[[(1, 0.25)]] * 15, [[(1, 0.25)]] * 15]
    (found,) = ask(
        built(plan_of(tmp_path, shards, [CLS])),
        "SELECT n_active, sum, histogram[32], top_images FROM features WHERE feature = 1",
    )
    assert found == (30, 7.5, 30, [*range(TOP_N)])


def test_a_folder_may_have_quotes_spaces_and_stars_in_its_name(tmp_path: Path) -> None:
    shards = SHARDS
    expected = ask(built(plan_of(tmp_path / "plain", shards, [CLS])), "SELECT * FROM features")
    for name in ("it's 'quoted'", "a b", 'say "hi"', "100%_$x", "glob[ab]*"):
        assert ask(built(plan_of(tmp_path / name, shards, [CLS])), "SELECT * FROM features") == expected


def test_slots_can_be_built_in_any_order_and_parts_are_not_made_twice(tmp_path: Path) -> None:
    plan = plan_of(tmp_path, SHARDS, [CLS, ANY])
    build_slot(plan, ANY)
    before = plan.part(ANY, "features").stat().st_mtime_ns
    tokens = ask(built(plan), "SELECT token FROM features")
    assert list(dict.fromkeys(tokens)) == [("cls",), ("any",)]
    assert plan.part(ANY, "features").stat().st_mtime_ns == before


def test_shards_put_in_together_or_one_by_one_give_the_same_tables(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tables = []
    for at_once in (1, 4, 500):
        monkeypatch.setattr("indexer.build._CODES_AT_ONCE", at_once)
        database = built(plan_of(tmp_path / str(at_once), SHARDS, [CLS, ANY]))
        tables.append([ask(database, f"SELECT * FROM {name}") for name in ("images", "codes")])
    assert tables[0] == tables[1] == tables[2]


def test_the_same_shards_give_the_same_tables_whatever_memory_there_is(tmp_path: Path) -> None:
    values = np.random.default_rng(0).random((40, N_FEATURES)).astype(np.float32)
    shards: list[list[Pairs]] = [
        [sorted(enumerate(row.tolist()), key=lambda pair: -pair[1]) for row in values] for _ in range(3)
    ]
    tables = []
    for memory_limit in (None, "200MB"):
        plan = plan_of(tmp_path / str(memory_limit), shards, [CLS])
        database = built(BuildPlan(plan.index_dir, plan.markers, plan.slots, plan.widths, memory_limit))
        tables.append(
            [ask(database, f"SELECT * FROM {name}") for name in ("features", "activations", "codes")]
        )
    assert tables[0] == tables[1]
