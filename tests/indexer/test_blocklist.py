"""The block-list while indexing: what it names is left out, counted apart, and leaves a tombstone."""

import hashlib
import json
from pathlib import Path

import pytest

from scopeview.blocklist import parse_rules
from scopeview.errors import BadReason
from scopeview.store.reader import IndexReader
from tests.command import scopeview
from tests.indexer.sources.tars import write_tar
from tests.indexer.tiny import index_words, jpeg, write_model, write_suite

URLS = {
    "a": "https://fine.example/a.jpg",
    "b": "https://fine.example/b.jpg#top",
    "c": "http://cdn.evil.example/c.jpg",
    "d": "https://notevil.example/d.jpg",
}


@pytest.fixture
def world(tmp_path: Path) -> Path:
    members = [
        member
        for seed, (name, url) in enumerate(URLS.items())
        for member in ((f"{name}.jpg", jpeg(seed)), (f"{name}.json", json.dumps({"url": url}).encode()))
    ]
    (tmp_path / "source").mkdir()
    write_tar(tmp_path / "source" / "00000.tar", [*members, ("e.jpg", jpeg(4))])
    write_model(tmp_path / "model")
    write_suite(tmp_path / "suite")
    return tmp_path


def test_what_it_names_is_left_out_and_leaves_a_tombstone_that_blocks_again(world: Path) -> None:
    sha256s = [hashlib.sha256(jpeg(seed)).hexdigest() for seed in range(5)]
    blocklist = world / "blocked.txt"
    blocklist.write_text(f"http://FINE.example/b.jpg\nevil.example # all of it\n{sha256s[4]}\n")
    words = [*index_words(world, world / "index"), "--blocklist", blocklist, "--max-bad-fraction", "0"]
    ended = scopeview(*words)
    assert ended.code == 0, ended.err
    assert "left out: 3 on the block-list" in ended.out
    with IndexReader(world / "index") as reader:
        assert [row.key for row in reader.images(limit=9)] == ["00000/a", "00000/d"]
    report = json.loads((world / "index" / "report.json").read_text())
    assert report["skipped"] == {BadReason.BLOCKED: 3}
    tombstones = (world / "index" / "tombstones.txt").read_text()
    assert tombstones.splitlines()[0] == f"{sha256s[1]}  # 00000/b, by the rule https://fine.example/b.jpg"
    rules = parse_rules(tombstones)
    assert rules.sha256s == {sha256s[1], sha256s[2], sha256s[4]}
    assert (rules.urls, rules.domains, rules.unread) == (frozenset(), frozenset(), ())
    assert scopeview("verify", world / "index").code == 0


def test_another_list_does_not_resume_a_run(world: Path) -> None:
    blocklist = world / "blocked.txt"
    blocklist.write_text("evil.example\n")
    words = index_words(world, world / "index")
    assert scopeview(*words, "--blocklist", blocklist, "--layers", "embed").code == 0
    ended = scopeview(*words, "--layers", "embed")
    assert ended.code == 2
    assert "begun with another blocklist" in ended.err


@pytest.mark.parametrize("content", ["not a rule at all\n", None])
def test_a_list_that_cannot_be_read_whole_is_refused(world: Path, content: str | None) -> None:
    if content is not None:
        (world / "blocked.txt").write_text(content)
    ended = scopeview(*index_words(world, world / "index"), "--blocklist", world / "blocked.txt")
    assert ended.code == 2
    assert f"the block-list {world / 'blocked.txt'} cannot be read" in ended.err
    assert not (world / "index").exists()
