"""16-bit greyscale through the whole pipeline: scaled, recorded, counted. An older index stays as it is."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from indexer.pipeline import IndexRequest, run_index
from scopeview.model_spec import load_encoder
from scopeview.store.reader import IndexReader
from tests.indexer.tiny import write_model, write_suite

N_IMAGES = 12


def write_deep_images(folder: Path) -> Path:
    """As microscopes and depth cameras write them: most levels above 255, each image another one."""
    folder.mkdir()
    for number in range(N_IMAGES):
        levels = np.random.default_rng(number).integers(300, 1 << 16, (4, 4), dtype=np.uint16)
        Image.fromarray(levels.repeat(10, axis=0).repeat(10, axis=1)).save(folder / f"{number:02d}.png")
    return folder


@pytest.fixture(scope="module")
def asked(tmp_path_factory: pytest.TempPathFactory) -> IndexRequest:
    folder = tmp_path_factory.mktemp("deep")
    return IndexRequest(
        write_deep_images(folder / "source"),
        str(write_model(folder / "model")),
        str(write_suite(folder / "suite")),
        folder / "index",
        tokens=("cls",),
        calibration_images=N_IMAGES,
        batch_size=4,
        dtype="float32",
        slug="deep",
    )


@pytest.fixture(scope="module")
def index_dir(asked: IndexRequest) -> Path:
    run_index(asked)
    return asked.out


def test_different_images_have_different_codes(index_dir: Path) -> None:
    with IndexReader(index_dir) as reader:
        codes = {str(reader.image(i).codes[0].features) for i in range(N_IMAGES)}
    assert len(codes) == N_IMAGES


def test_the_report_counts_them_and_the_manifest_says_what_was_done(index_dir: Path) -> None:
    report = json.loads((index_dir / "report.json").read_bytes())
    assert report["notes"] == {"16-bit greyscale": N_IMAGES}
    assert report["skipped"] == {}
    manifest = json.loads((index_dir / "manifest.json").read_bytes())
    assert manifest["model"]["preprocessing"]["grey_16_bit"] == "scaled"
    assert load_encoder(index_dir, device="cpu").clip.preprocessing.grey_16_bit == "scaled"


def test_an_older_index_opens_and_is_left_as_it_is(asked: IndexRequest, index_dir: Path) -> None:
    for name, part in (("manifest.json", "model"), ("run.json", "config")):
        record = json.loads((index_dir / name).read_bytes())
        del record[part]["preprocessing"]["grey_16_bit"]
        del record["sha256"]  # an older version wrote none
        (index_dir / name).write_text(json.dumps(record))
    before = (index_dir / "manifest.json").read_bytes()
    manifest = run_index(asked)
    assert manifest.model.grey_16_bit == "clipped"
    assert (index_dir / "manifest.json").read_bytes() == before
    assert load_encoder(index_dir, device="cpu").clip.preprocessing.grey_16_bit == "clipped"
