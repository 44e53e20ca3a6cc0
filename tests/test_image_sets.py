"""The images that tests and benchmarks read: where the corpus is looked for, and what is drawn without it."""

import io
import tarfile
from pathlib import Path

import pytest
from PIL import Image

from bench import images as bench_images
from tests import image_sets
from tests.image_sets import CORPUS_VARIABLE, REQUIRED_VARIABLE, ImageSets, corpus, write_image_sets


@pytest.fixture(autouse=True)
def bare_clone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A checkout with nothing beside it, and nothing said in the environment."""
    checkout = tmp_path / "checkout"
    checkout.mkdir()
    monkeypatch.setattr(image_sets, "PROJECT_DIR", checkout)
    monkeypatch.delenv(CORPUS_VARIABLE, raising=False)
    monkeypatch.delenv(REQUIRED_VARIABLE, raising=False)
    return checkout


def write_corpus(folder: Path) -> Path:
    for name in ("laion", "photos"):
        (folder / name).mkdir(parents=True)
    return folder


def test_a_bare_clone_has_no_corpus() -> None:
    assert corpus() is None


def test_the_corpus_is_found_beside_the_checkout(bare_clone: Path) -> None:
    folder = write_corpus(bare_clone.parent / "shared" / "images")
    assert corpus() == ImageSets(folder, n_laion=70, n_photos=700, n_photo_shards=7)


def test_the_environment_names_a_corpus_elsewhere(
    bare_clone: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_corpus(bare_clone.parent / "shared" / "images")
    monkeypatch.setenv(CORPUS_VARIABLE, str(write_corpus(tmp_path / "elsewhere")))
    found = corpus()
    assert found is not None
    assert found.folder == tmp_path / "elsewhere"


def test_a_corpus_that_is_named_and_missing_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(CORPUS_VARIABLE, str(tmp_path / "nowhere"))
    with pytest.raises(FileNotFoundError, match=r"SCOPEVIEW_IMAGES is .*nowhere"):
        corpus()


def test_a_corpus_that_is_required_and_missing_is_an_error(
    bare_clone: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(REQUIRED_VARIABLE, "0")
    assert corpus() is None
    monkeypatch.setenv(REQUIRED_VARIABLE, "1")
    with pytest.raises(FileNotFoundError, match="SCOPEVIEW_REQUIRE_IMAGES is set"):
        corpus()
    write_corpus(bare_clone.parent / "shared" / "images")
    assert corpus() is not None


def test_the_same_sets_are_drawn_every_time(tmp_path: Path) -> None:
    sizes = {"per_laion_shard": 13, "n_photo_shards": 1, "per_photo_shard": 10}
    one, other = (write_image_sets(tmp_path / name, **sizes) for name in ("one", "other"))
    files = [path.relative_to(one.folder) for path in one.folder.rglob("*") if path.is_file()]
    assert len(files) == 5
    assert all((one.folder / name).read_bytes() == (other.folder / name).read_bytes() for name in files)


def test_drawn_web_images_come_in_every_coding(drawn_images: ImageSets) -> None:
    opened = [
        Image.open(io.BytesIO(data)) for tar in drawn_images.laion.glob("*.tar") for data in images_of(tar)
    ]
    codings = {(image.format, image.mode) for image in opened}
    assert codings >= {("JPEG", mode) for mode in ("RGB", "L", "CMYK")}
    assert codings >= {("PNG", mode) for mode in ("RGB", "RGBA", "P", "LA", "1")}
    assert {("WEBP", "RGB"), ("GIF", "P")} <= codings
    assert any(image.getexif().get(image_sets.ORIENTATION_TAG, 1) != 1 for image in opened)
    assert {(1, 1), (728, 90), (900, 650)} <= {image.size for image in opened}


def test_no_two_drawn_photographs_are_alike(drawn_images: ImageSets) -> None:
    found = [data for tar in drawn_images.photos.glob("*.tar") for data in images_of(tar)]
    assert len(set(found)) == len(found) == drawn_images.n_photos


def images_of(tar_path: Path) -> list[bytes]:
    with tarfile.open(tar_path) as tar:
        members = [member for member in tar if member.name.endswith(".jpg")]
        return [opened.read() for member in members if (opened := tar.extractfile(member))]


def test_benchmarks_draw_images_once_where_there_is_no_corpus(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(bench_images, "N_PHOTOS_PER_SHARD", 3)
    monkeypatch.setattr(bench_images, "N_LAION_PER_SHARD", 2)
    drawn = bench_images.image_sets(tmp_path / "made")
    assert (drawn.n_photos, len(list(drawn.photos.glob("*.tar")))) == (21, 7)
    assert "drawing some" in capsys.readouterr().err
    assert bench_images.image_sets(tmp_path / "made") == drawn
    assert capsys.readouterr().err == ""
    assert [path.name for path in (tmp_path / "made").iterdir()] == ["images"]


def test_benchmarks_read_the_corpus_where_it_is(bare_clone: Path, tmp_path: Path) -> None:
    write_corpus(bare_clone.parent / "shared" / "images")
    assert bench_images.image_sets(tmp_path / "made") == corpus()
