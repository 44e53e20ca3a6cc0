"""Folders may have any name: none of our engines reads one as a pattern, an address or an escape."""

from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from starlette.testclient import TestClient

from app.main import create_app
from app.settings import Settings
from scopeview.store.duckdb_paths import attach_new, quoted
from scopeview.store.reader import IndexReader
from tests.command import scopeview
from tests.indexer.sources.tars import write_tar
from tests.indexer.tiny import index_words, jpeg, write_model, write_suite

ODD_NAMES = [
    "run[1]",
    "a*b",
    "what?",
    "back\\slash",
    "it's",
    "sp ace",
    "ünï",
    "%41",
    "a#b",
    "x=1",
    "{a,b}",
    "~me",
    "s3:",
]
N_IMAGES = 10


def write_world(folder: Path, first_seed: int) -> Path:
    samples = [(f"{i:03d}.jpg", jpeg(first_seed + i)) for i in range(N_IMAGES)]
    (folder / "source").mkdir(parents=True)
    write_tar(folder / "source" / "00000.tar", samples)
    write_model(folder / "model")
    write_suite(folder / "suite")
    return folder


def contents(index_dir: Path) -> list[object]:
    with IndexReader(index_dir) as reader:
        tables = ("images", "features", "codes", "described.features", "described.neighbors")
        return [reader.sql(f"SELECT * FROM {table}") for table in tables]


def test_a_world_below_folders_of_all_those_names_is_indexed_verified_described_and_served(
    tmp_path: Path,
) -> None:
    plain, odd = write_world(tmp_path / "plain", 0), write_world(tmp_path.joinpath(*ODD_NAMES), 0)
    for world in (plain, odd):
        ended = scopeview(*index_words(world, world / "out"))
        assert ended.code == 0, ended.err
    assert contents(odd / "out") == contents(plain / "out")
    assert scopeview("verify", odd / "out").code == 0
    assert scopeview("describe", odd / "out").code == 0
    assert f"{N_IMAGES} images" in scopeview("info", odd / "out").out
    settings = Settings(index_dirs=[odd / "out"], upload_dir=tmp_path / "uploads", encoder_device="off")
    with TestClient(create_app(settings)) as client:
        for address in ("/tiny", "/tiny/images/0", "/tiny/thumbs/0.webp", "/api/v1/tiny/1/0"):
            assert client.get(address).status_code == 200


@pytest.mark.parametrize("name", ODD_NAMES)
def test_duckdb_writes_and_reads_in_a_folder_of_that_name_and_in_no_other(tmp_path: Path, name: str) -> None:
    for folder in ("run1", "ab", "back/slash", name):
        (tmp_path / folder).mkdir(parents=True)
        pq.write_table(pa.table({"a": [folder]}), tmp_path / folder / "a.parquet")
    parquet, database = tmp_path / name / "a.parquet", tmp_path / name / "a.duckdb"
    with duckdb.connect() as connection:
        attach_new(connection, database, "made")
        connection.execute(f"CREATE TABLE made.a AS SELECT * FROM read_parquet([{quoted(parquet)}])")
        connection.execute("DETACH made")
        connection.execute(f"ATTACH {quoted(database)} AS read (READ_ONLY)")
        assert connection.execute("FROM read.a").fetchall() == [(name,)]
    assert sorted(path.name for path in (tmp_path / name).iterdir()) == ["a.duckdb", "a.parquet"]


@pytest.mark.slow
def test_an_index_whose_path_is_a_pattern_never_holds_what_the_pattern_matches(tmp_path: Path) -> None:
    found = {}
    for name, seed in {"run1": 0, "run[1]": 50}.items():
        world = write_world(tmp_path / "worlds" / str(seed), seed)
        ended = scopeview(*index_words(world, tmp_path / name))
        assert ended.code == 0, ended.err
        found[name] = contents(tmp_path / name)
    assert found["run1"] != found["run[1]"]
    assert scopeview("verify", tmp_path / "run[1]").code == 0


@pytest.mark.slow
def test_a_relative_path_may_look_like_a_scheme_or_a_home(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    world = write_world(tmp_path / "world", 0)
    ended = scopeview(*index_words(world, Path("~x/file:x")))
    assert ended.code == 0, ended.err
    assert (tmp_path / "~x/file:x/manifest.json").is_file()
    assert scopeview("verify", "~x/file:x").code == 0
