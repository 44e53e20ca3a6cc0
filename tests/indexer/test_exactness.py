"""What the index says of each feature equals a brute-force twin, ties included."""

import io
from collections.abc import Iterator
from pathlib import Path

import duckdb
import numpy as np
import pytest
import torch
from PIL import Image

from indexer.build import TOP_N, BuildPlan, LayerWidth, build_slot, write_database
from indexer.pipeline import run_index
from indexer.shard_writer import ImageEntry, ShardMarker, ShardWriter
from indexer.sources import Sample, open_source
from indexer.sprites import CELL_PX
from scopeview.images import ImageLimits, decode
from scopeview.model_spec import load_encoder
from scopeview.slots import Slot
from scopeview.store.reader import IndexReader
from scopeview.vision.encoder import Encoded, Encoder, SlotCodes
from tests.image_sets import ImageSets
from tests.indexer import twin
from tests.indexer.worlds import N_FEATURES, request, save_weights

MAX_IMAGES = 300


@pytest.fixture(scope="module")
def photos(images: ImageSets, tmp_path_factory: pytest.TempPathFactory) -> Iterator[IndexReader]:
    """Photographs through the whole pipeline."""
    folder = tmp_path_factory.mktemp("photos")
    limit = min(images.n_photos, MAX_IMAGES)
    run_index(request(images.photos, save_weights(folder), folder / "index", limit=limit))
    with IndexReader(folder / "index") as reader:
        yield reader


@pytest.fixture(scope="module")
def encoder(photos: IndexReader) -> Encoder:
    return load_encoder(photos.index_dir, device="cpu")


@pytest.fixture(scope="module")
def dense(photos: IndexReader, encoder: Encoder, images: ImageSets) -> dict[Slot, twin.Dense]:
    """Each slot's (image, feature) table, encoded one image at a time."""
    tables: dict[Slot, list[twin.Dense]] = {slot: [] for slot in photos.manifest.slots}
    samples = [
        sample
        for shard in open_source(images.photos).shards
        for sample in shard.samples()
        if isinstance(sample, Sample)
    ][: photos.manifest.n_images]
    for start in range(0, len(samples), 16):  # the pipeline's own batches: matmul rounds by their size
        crops = [encoder.crop(decode(s.image, ImageLimits()).image) for s in samples[start : start + 16]]
        for slot, codes in encoder.encode(np.stack(crops)).codes.items():
            tables[slot].append(twin.dense(codes, N_FEATURES))
    return {slot: np.concatenate(parts) for slot, parts in tables.items()}


def test_every_feature_of_every_slot_equals_the_twin(
    photos: IndexReader, dense: dict[Slot, twin.Dense]
) -> None:
    for slot, table in dense.items():
        for feature in range(N_FEATURES):
            expected = twin.feature(table[:, feature])
            found = photos.feature(slot.layer, feature, slot.token)
            assert found.n_active == expected.n_active
            assert found.density == expected.n_active / len(table)
            assert found.max_activation == expected.highest
            assert found.histogram.counts == expected.histogram
            assert [top.image_id for top in found.top_images] == expected.ranking[:TOP_N]
            if expected.n_active:
                assert found.mean_activation == pytest.approx(expected.total / expected.n_active, rel=1e-9)


def test_all_images_of_a_feature_can_be_paged_through_in_rank_order(
    photos: IndexReader, dense: dict[Slot, twin.Dense]
) -> None:
    slot = Slot(3, "any")
    feature = int((dense[slot] > 0).sum(axis=0).argmax())
    expected = twin.feature(dense[slot][:, feature]).ranking
    pages = [
        photos.activating_images(slot, feature, limit=7, offset=at) for at in range(0, len(expected) + 7, 7)
    ]
    assert [top.image_id for page in pages for top in page] == expected
    assert [top.rank for page in pages for top in page] == list(range(1, len(expected) + 1))


def test_any_is_the_maximum_over_all_tokens_and_says_where(
    photos: IndexReader, encoder: Encoder, images: ImageSets
) -> None:
    sample = next(iter(open_source(images.photos).shards[0].samples()))
    assert isinstance(sample, Sample)
    crop = encoder.crop(decode(sample.image, ImageLimits()).image)[None]
    residual = encoder.clip.forward(torch.from_numpy(crop), [3]).residuals[3][0]
    codes = encoder.saes[3].encode(residual)
    every = torch.zeros(residual.shape[0], N_FEATURES).scatter_(1, codes.features, codes.values)
    code = next(code for code in photos.image(0).codes if (code.layer, code.token) == (3, "any"))
    assert code.n_active == int((every.max(dim=0).values > 0).sum())
    for active in code.features:
        peak, position = every[:, active.feature].max(dim=0)
        assert active.activation == pytest.approx(float(peak), rel=1e-5)
        assert active.position == int(position)


def test_each_cell_of_a_grid_shows_the_image_of_that_rank(photos: IndexReader) -> None:
    thumbs = _thumbs(photos)
    for slot in photos.manifest.slots:
        for card in photos.gallery(slot, sort="density", limit=3).cards:
            sprite = _pixels(photos.grid(slot, card.feature))
            tops = photos.feature(slot.layer, card.feature, slot.token).top_images[:9]
            for i, top in enumerate(tops):
                row, column = divmod(i, 3)
                cell = sprite[row * CELL_PX : (row + 1) * CELL_PX, column * CELL_PX : (column + 1) * CELL_PX]
                distances = np.abs(thumbs - cell).mean(axis=(1, 2, 3))
                assert distances.argmin() == top.image_id


def test_equal_activations_rank_by_image_id(tmp_path: Path) -> None:
    slot = Slot(0, "cls")
    values = np.array([1, 2, 1, 2, 2, -3, 0, 1], dtype=np.float32)
    one_each = np.ones(len(values), dtype=np.int32)
    codes = SlotCodes(one_each, np.zeros(len(values), dtype=np.int32), values, None)
    plan = _built(tmp_path, slot, codes)
    with_sql = _sql(
        plan.index_dir, "SELECT n_active, sum, top_images, top_values FROM features WHERE feature = 0"
    )
    assert with_sql == [(6, 9.0, [1, 3, 4, 0, 2, 7], [2, 2, 2, 1, 1, 1])]
    assert _sql(plan.index_dir, "SELECT n_active, max, histogram FROM features WHERE feature = 1") == [
        (0, None, [])
    ]


def test_a_value_on_an_edge_belongs_to_the_slice_below(tmp_path: Path) -> None:
    slot = Slot(0, "cls")
    highest = np.float32(0.7)  # not a power of two: its 32nd parts are no round numbers
    values = np.array([np.float64(highest) * i / 32 for i in range(1, 33)]).astype(np.float32)
    codes = SlotCodes(np.ones(32, dtype=np.int32), np.zeros(32, dtype=np.int32), values, None)
    plan = _built(tmp_path, slot, codes)
    (found,) = _sql(plan.index_dir, "SELECT histogram FROM features WHERE feature = 0")
    assert found[0] == twin.feature(values).histogram


def _built(folder: Path, slot: Slot, codes: SlotCodes) -> BuildPlan:
    n = len(codes.lengths)
    marker = ShardMarker("only", "0", n, n)
    with ShardWriter(folder, 0, [slot]) as writer:
        entries = [_entry(i) for i in range(n)]
        encoded = Encoded({slot: codes}, np.zeros((n, 4), np.float16), np.ones(n, dtype=bool))
        writer.add(entries, [b"thumb"] * n, encoded)
        writer.finish(marker, projection_dim=4)
    plan = BuildPlan(folder, [marker], [slot], {0: LayerWidth(n_features=2, k=1)})
    build_slot(plan, slot)
    write_database(plan, folder / "scope.duckdb")
    return plan


def _entry(i: int) -> ImageEntry:
    return ImageEntry(str(i), None, None, None, 1, 1, "", None, None)


def _sql(folder: Path, sql: str) -> list[tuple[object, ...]]:
    with duckdb.connect(str(folder / "scope.duckdb"), read_only=True) as connection:
        return connection.execute(sql).fetchall()


def _pixels(webp: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(webp)).convert("RGB"), dtype=np.int16)


def _thumbs(reader: IndexReader) -> np.ndarray:
    """Every image of the index in the size of a cell."""
    images = (Image.open(io.BytesIO(reader.thumb(i))) for i in range(reader.manifest.n_images))
    return np.stack([np.asarray(image.resize((CELL_PX, CELL_PX)), dtype=np.int16) for image in images])
