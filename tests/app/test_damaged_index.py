"""Every kind of file of an index, cut, flipped or removed: it is named, and answers stay as they were."""

import json
import logging
import os
import random
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
from starlette.testclient import TestClient

from app.main import create_app
from app.settings import Settings
from scopeview.errors import DamagedError, IndexFormatError
from scopeview.store.manifest import read_manifest
from scopeview.store.reader import IndexReader
from tests.command import scopeview
from tests.indexer.tiny import index_words, write_model, write_source, write_suite
from tests.older import change_json, without_checksums

N_IMAGES, FEATURES = 18, range(0, 48, 8)
SLOTS = ("1/cls", "1/any", "embed/cls")


class Served(NamedTuple):
    """What a server said to each of `ADDRESSES`."""

    status: int
    body: bytes


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("damage")
    write_source(folder / "source")
    write_model(folder / "model")
    write_suite(folder / "suite")
    ended = scopeview(*index_words(folder, folder / "index"))
    assert ended.code == 0, ended.err
    return folder


@pytest.fixture(scope="module")
def index(world: Path) -> Path:
    return world / "index"


@pytest.fixture(scope="module")
def whole(index: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Served]:
    """What the whole index says."""
    found = answers(index, tmp_path_factory.mktemp("uploads"))
    assert isinstance(found, dict)
    assert {answer.status for answer in found.values()} == {200, 404}
    assert sum(answer.status == 200 for answer in found.values()) > len(found) * 0.8
    return found


@pytest.fixture
def copy(index: Path, tmp_path: Path) -> Path:
    return shutil.copytree(index, tmp_path / "copy")


# -- what is done to a file ----------------------------------------------------------------------------------


def cut(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


def flip_one(path: Path) -> None:
    _flip(path, 1)


def flip_many(path: Path) -> None:
    _flip(path, max(4, min(400, path.stat().st_size // 200)))


def remove(path: Path) -> None:
    path.unlink()


def _flip(path: Path, n_bits: int) -> None:
    content, chance = bytearray(path.read_bytes()), random.Random(path.name)
    for at in chance.sample(range(len(content)), min(n_bits, len(content))):
        content[at] ^= 1 << chance.randrange(8)
    path.write_bytes(content)


DAMAGE = {"cut": cut, "flip one": flip_one, "flip many": flip_many, "remove": remove}
KINDS = [
    "manifest.json",
    "scope-*.duckdb",
    "described-*.duckdb",
    "rows-2-*/1-any.pack",
    "rows-2-*/1-any.offsets.npy",
    "rows-2-*/1-any.checksums.npy",
    "vectors/1-cls.npy",
    "vectors/images.faiss",
    "normalization.safetensors",
    "figures.json",
    "grids/1-any.pack",
    "grids/1-any.offsets.npy",
    "grids/1-any.checksums.npy",
    "shards/00001/codes-1-any.parquet",
    "shards/00001/images.parquet",
    "shards/00001/embeddings.npy",
    "shards/00001/thumbs.pack",
    "shards/00001/thumbs.offsets.npy",
    "shards/00001/thumbs.checksums.npy",
    "shards/00001/shard.json",
    "run.json",
    "report.json",
]


def test_the_matrix_has_every_kind_of_file(index: Path) -> None:
    kinds = {path for kind in KINDS for path in index.glob(kind)}
    suffixes = {(path.parent.name[:4], "".join(path.suffixes), path.name[:4]) for path in kinds}
    for path in index.rglob("*"):
        if path.is_file() and path.name != ".lock" and not path.parent.name.isdigit():
            same = [kind for kind in suffixes if kind[:2] == (path.parent.name[:4], "".join(path.suffixes))]
            assert same, path
    in_shards = {path.name for path in kinds if path.parent.name.isdigit()}
    assert {path.name for path in (index / "shards/00001").iterdir() if "codes" not in path.name} <= in_shards


@pytest.mark.slow
@pytest.mark.parametrize("how", DAMAGE)
@pytest.mark.parametrize("kind", KINDS)
def test_a_damaged_file_is_named_and_changes_no_answer(
    copy: Path,
    whole: dict[str, Served],
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    kind: str,
    how: str,
) -> None:
    (path,) = copy.glob(kind)
    DAMAGE[how](path)
    ended = scopeview("verify", copy)
    assert ended.code in (1, 2), f"verify finds nothing: {ended.out}"
    assert path.name in ended.out + ended.err
    caplog.clear()
    found = answers(copy, tmp_path / "uploads")
    if isinstance(found, str):
        assert path.name in found, "refused, but not by name"
        return
    assert [address for address in found if not is_as_whole(found[address], whole[address])] == []
    assert path.name in caplog.text or all(found[address] == whole[address] for address in found)
    assert not [record for record in caplog.records if record.exc_info], "a traceback in the log"


@pytest.mark.parametrize(
    "kind", ["vectors/images.faiss", "vectors/1-cls.npy", "*.pack", "embeddings.npy", "*.npy"]
)
@pytest.mark.parametrize("how", ["cut", "flip many"])
def test_a_file_damaged_while_it_is_served_neither_ends_the_server_nor_changes_an_answer(
    copy: Path, whole: dict[str, Served], tmp_path: Path, kind: str, how: str
) -> None:
    with client(copy, tmp_path / "uploads") as site:
        ask(site)
        for path in sorted(copy.rglob(kind)):
            DAMAGE[how](path)
        again = ask(site)
    assert [address for address in again if not is_as_whole(again[address], whole[address])] == []


def test_a_damaged_thumbnail_is_503_counted_and_logged_and_the_page_goes_on(
    copy: Path, whole: dict[str, Served], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = copy / "shards/00000/thumbs.pack"
    content = bytearray(path.read_bytes())
    content[100] ^= 1
    path.write_bytes(content)
    with client(copy, tmp_path / "uploads") as site:
        answer = site.get("/tiny/thumbs/0.webp", headers={"Accept": "application/json"})
        assert (answer.status_code, answer.json()["error"]) == (503, "damaged")
        assert answer.headers["cache-control"] == "no-store"
        assert str(copy) not in answer.text
        assert site.get("/tiny/thumbs/1.webp").content == whole["/tiny/thumbs/1.webp"].body
        assert site.get("/tiny/images/0").status_code == 200
        assert "scopeview_damaged_reads_total 1.0" in site.get("/metrics").text
    assert "shards/00000/thumbs.pack: blob 0 is damaged" in caplog.text


def test_a_damaged_row_is_answered_from_the_database_and_counted(
    copy: Path, whole: dict[str, Served], tmp_path: Path
) -> None:
    (path,) = copy.glob("rows-2-*/1-cls.pack")
    path.write_bytes(bytes(byte ^ 1 for byte in path.read_bytes()))
    with client(copy, tmp_path / "uploads") as site:
        assert site.get("/api/v1/tiny/1/0").json() == json.loads(whole["/api/v1/tiny/1/0?token=cls"].body)
        assert "scopeview_damaged_reads_total 0.0" not in site.get("/metrics").text


def test_an_index_that_takes_the_place_of_one_that_is_served_is_never_shown_in_its_name(
    index: Path, copy: Path, whole: dict[str, Served], tmp_path: Path
) -> None:
    """Another index of the same shape: nothing but checksums tells them apart."""
    with client(copy, tmp_path / "uploads") as site:
        copy.rename(tmp_path / "away")
        other = shutil.copytree(index, copy)
        for name in ("thumbs.pack", "thumbs.offsets.npy", "thumbs.checksums.npy", "embeddings.npy"):
            for here, there in (("00000", "00001"), ("00001", "00002"), ("00002", "00000")):
                shutil.copy(index / "shards" / there / name, other / "shards" / here / name)
        found = ask(site)
    assert [address for address in found if not is_as_whole(found[address], whole[address])] == []
    assert found["/tiny/thumbs/0.webp"].status == 503


def test_an_older_index_that_is_replaced_while_it_is_served_is_noticed(
    index: Path, copy: Path, whole: dict[str, Served], tmp_path: Path
) -> None:
    without_checksums(copy)
    with client(copy, tmp_path / "uploads") as site:
        copy.rename(tmp_path / "away")
        without_checksums(shutil.copytree(index, copy))
        found = ask(site)
    assert [address for address in found if not is_as_whole(found[address], whole[address])] == []
    assert found["/tiny/thumbs/0.webp"].status == 503


def test_an_index_without_checksums_opens_with_one_warning(
    copy: Path, caplog: pytest.LogCaptureFixture
) -> None:
    without_checksums(copy)
    caplog.set_level(logging.WARNING)
    for _ in range(2):
        IndexReader(copy).close()
    (record,) = caplog.records
    assert "has no checksums" in record.message
    assert scopeview("verify", copy).code == 0
    assert scopeview("describe", copy).code == 0
    assert read_manifest(copy).files is not None


@pytest.mark.parametrize("name", ["../a", "/etc/passwd", "..", "a/../../b", ".hidden", "a//b", "a\\..\\b"])
def test_a_manifest_may_name_no_file_outside_its_folder(copy: Path, name: str) -> None:
    record = {"size": 1, "sha256": "0" * 64}
    for fields in ({"database": name}, {"files": {name: record}}):
        change_json(copy / "manifest.json", **fields)
        with pytest.raises(IndexFormatError, match=r"manifest\.json: (database|files)"):
            read_manifest(copy)


def test_many_damaged_files_are_refused_in_one_sentence(copy: Path) -> None:
    for path in copy.glob("shards/*/*.npy"):
        path.unlink()
    with pytest.raises(DamagedError, match=r"is missing; .* and \d+ more: put back a copy"):
        IndexReader(copy)


# -- what a server says --------------------------------------------------------------------------------------


def client(index_dir: Path, upload_dir: Path) -> TestClient:
    settings = Settings(
        index_dirs=[index_dir], upload_dir=upload_dir, encoder_device="off", page_cache_bytes=0
    )
    return TestClient(create_app(settings), raise_server_exceptions=False)


def answers(index_dir: Path, upload_dir: Path) -> dict[str, Served] | str:
    """Or why it is not served."""
    try:
        with client(index_dir, upload_dir) as site:
            return ask(site)
    except IndexFormatError as error:
        return str(error)


def ask(site: TestClient) -> dict[str, Served]:
    found = {address: site.get(address) for address in ADDRESSES}
    return {address: Served(answer.status_code, answer.content) for address, answer in found.items()}


def is_as_whole(answer: Served, whole: Served) -> bool:
    """The same, or it says that something is damaged."""
    return answer == whole or answer.status == 503


def _addresses() -> Iterator[str]:
    yield from ("/", "/tiny", "/tiny/1", "/tiny/embed", "/tiny/compare?features=1:0,1:5", "/tiny/1/map")
    yield from ("/api/v1/indexes", "/api/v1/tiny/images?limit=18", "/api/v1/tiny/1?token=any")
    for image_id in range(N_IMAGES):
        yield f"/tiny/thumbs/{image_id}.webp"
        yield f"/api/v1/tiny/images/{image_id}"
    yield from (f"/api/v1/tiny/search?image={image_id}" for image_id in (0, 7, 17))
    yield from (f"/tiny/images/{image_id}" for image_id in (0, 7, 17))
    for slot in SLOTS:
        layer, token = slot.split("/")
        for feature in FEATURES:
            yield f"/tiny/grids/{slot}/{feature}.webp"
            yield f"/api/v1/tiny/{layer}/{feature}?token={token}"
        yield from (f"/tiny/{layer}/{feature}?token={token}" for feature in (0, 8))


ADDRESSES = list(_addresses())
