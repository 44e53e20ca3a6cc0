"""What lies under the source and is not indexed is in the report, and said before and after the work."""

import json
import shutil
from pathlib import Path

import pytest

from scopeview.store.manifest import read_manifest
from tests.command import scopeview
from tests.indexer.tiny import N_SHARDS, PER_SHARD, index_words, jpeg, write_world


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Its tars lie one folder down, beside a banner and one tar behind a link out of the source."""
    folder = write_world(tmp_path_factory.mktemp("world"))
    source = folder / "source"
    source.rename(folder / "data")
    source.mkdir()
    (folder / "data").rename(source / "data")
    for number in range(2):
        (source / f"banner-{number}.jpg").write_bytes(jpeg(number))
    (source / "README.md").write_text("words")
    (folder / "elsewhere").mkdir()
    shutil.copy(source / "data" / "00000.tar", folder / "elsewhere" / "00009.tar")
    (source / "more").symlink_to(folder / "elsewhere")
    return folder


def test_it_is_counted_in_the_report_and_said_at_both_ends(world: Path) -> None:
    ended = scopeview(*index_words(world, world / "index"), "--layers", "embed")
    assert ended.code == 0, ended.err
    assert read_manifest(world / "index").n_images == N_SHARDS * PER_SHARD
    lines = [json.loads(line) for line in ended.err.splitlines()]
    said = {
        "task": "not indexed",
        "image outside the archives": "2 (banner-0.jpg, banner-1.jpg)",
        "link that leaves the folder": "1 (more)",
        "other file (.md)": "1 (README.md)",
    }
    assert (lines[0], lines[-1]) == (said, said)
    assert json.loads((world / "index" / "report.json").read_bytes())["unused"] == {
        "image outside the archives": {"files": 2, "examples": ["banner-0.jpg", "banner-1.jpg"]},
        "link that leaves the folder": {"files": 1, "examples": ["more"]},
        "other file (.md)": {"files": 1, "examples": ["README.md"]},
    }


def test_links_out_are_followed_and_kinds_chosen_by_option(world: Path) -> None:
    followed = scopeview(*index_words(world, world / "followed"), "--layers", "embed", "--follow-links")
    assert followed.code == 0, followed.err
    assert read_manifest(world / "followed").n_images == (N_SHARDS + 1) * PER_SHARD
    chosen = scopeview(*index_words(world, world / "chosen"), "--layers", "embed", "--source-kind", "folder")
    assert chosen.code == 0, chosen.err
    assert read_manifest(world / "chosen").n_images == 2


def test_calibrate_takes_the_same_options(world: Path) -> None:
    words = ["calibrate", world / "source", "--model", world / "model", "--sae", world / "suite", "--json"]
    ended = scopeview(*words, "--layers", "embed", "--source-kind", "folder")
    assert ended.code == 0, ended.err
    assert {found["figures"]["n_tokens"] for found in json.loads(ended.out)} == {2}


def test_an_index_inside_its_source_is_refused_whatever_the_source_is(world: Path) -> None:
    ended = scopeview(*index_words(world, world / "source" / "index"))
    assert (ended.code, "lies inside the images of" in ended.err) == (2, True)
