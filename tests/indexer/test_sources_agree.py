"""The same images give the same features, whatever they came in: both tar layouts, a folder, Parquet."""

import io
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from indexer.pipeline import run_index
from indexer.sources import Sample, open_source
from scopeview.store.reader import IndexReader
from tests.image_sets import ImageSets
from tests.indexer.worlds import request, save_weights

PER_LAYOUT = 12


def _samples(folder: Path) -> list[Sample]:
    shards = open_source(folder).shards
    return [sample for sample in shards[0].samples() if isinstance(sample, Sample)][:PER_LAYOUT]


def _stem(sample: Sample) -> str:
    return sample.key.split("/")[-1]


def _as_folder(samples: list[Sample], out: Path) -> None:
    for sample in samples:
        (out / f"{_stem(sample)}.jpg").write_bytes(sample.image)


def _as_parquet(samples: list[Sample], out: Path) -> None:
    images = [{"bytes": sample.image, "path": f"{_stem(sample)}.jpg"} for sample in samples]
    table = pa.table({"image": images, "caption": [sample.caption for sample in samples]})
    pq.write_table(table, out / "train-00000-of-00001.parquet")


def _as_tar(samples: list[Sample], out: Path) -> None:
    with tarfile.open(out / "00000.tar", "w") as tar:
        for sample in samples:
            member = tarfile.TarInfo(f"{_stem(sample)}.jpg")
            member.size = len(sample.image)
            tar.addfile(member, io.BytesIO(sample.image))


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    return save_weights(tmp_path_factory.mktemp("weights"))


@pytest.fixture(scope="module", params=["laion", "photos"])
def layout(request: pytest.FixtureRequest, drawn_images: ImageSets) -> Path:
    """The LAION pipeline's tars, then img2dataset's."""
    return drawn_images.folder / str(request.param)


@pytest.fixture(scope="module")
def original(layout: Path, weights: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The index of the layout's first images."""
    index_dir = tmp_path_factory.mktemp("original") / "index"
    run_index(request(layout, weights, index_dir, limit=PER_LAYOUT))
    return index_dir


@pytest.mark.slow
@pytest.mark.parametrize("write", [_as_folder, _as_parquet, _as_tar])
def test_another_layout_of_the_same_images_gives_the_same_features(
    layout: Path,
    original: Path,
    weights: tuple[Path, Path],
    tmp_path: Path,
    write: Callable[[list[Sample], Path], None],
) -> None:
    source = tmp_path / "source"
    source.mkdir()
    write(_samples(layout), source)
    run_index(request(source, weights, tmp_path / "copy"))
    assert list(_contents(tmp_path / "copy")) == list(_contents(original))


def _contents(index_dir: Path) -> Iterator[object]:
    with IndexReader(index_dir) as reader:
        yield [row[0] for row in reader.sql("SELECT sha256 FROM images ORDER BY image_id")]
        yield from reader.sql("SELECT * FROM features ORDER BY ALL")
        yield from reader.sql("SELECT * FROM codes ORDER BY ALL")
        yield from reader.sql("SELECT * FROM activations ORDER BY ALL")
