"""From the command line: which parts of samples were read is said, and a lost shard counts all it cost."""

import json
from pathlib import Path

import pytest

from scopeview.store.reader import IndexReader
from tests.command import Ended, scopeview
from tests.indexer.sources.tars import png, write_tar
from tests.indexer.tiny import index_words, jpeg, write_model, write_suite

N = 4


def members(first: int) -> list[tuple[str, bytes]]:
    return [
        (f"{number}.{suffix}", content)
        for number in range(first, first + N)
        for suffix, content in (
            ("input.jpg", jpeg(number)),
            ("json", b'{"captions": ["one", "two"], "fine_label": 3.0, "width": 48}'),
            ("mask.png", png()),
            ("outputs.txt", b"an output"),
        )
    ]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two tars of as many samples by img2dataset's count; the second breaks off after its first sample."""
    folder = tmp_path_factory.mktemp("world")
    write_model(folder / "model")
    write_suite(folder / "suite")
    (folder / "source").mkdir()
    for shard in range(2):
        path = write_tar(folder / "source" / f"{shard:05d}.tar", members(shard * N))
        path.with_name(f"{shard:05d}_stats.json").write_text(json.dumps({"successes": N, "count": N}))
    content = path.read_bytes()
    path.write_bytes(content[: content.index(b"5.input.jpg") + 600])
    return folder


@pytest.fixture(scope="module")
def made(world: Path) -> Ended:
    return scopeview(*index_words(world, world / "index"), "--layers", "embed", "--max-bad-fraction", "1")


def test_a_cut_shard_ends_the_run_by_all_the_samples_that_it_cost(world: Path) -> None:
    ended = scopeview(*index_words(world, world / "strict"), "--layers", "embed")
    assert ended.code == 3
    assert "3 of 8 samples cannot be used (3 truncated shard): 37.5%" in ended.err


def test_where_parts_were_found_and_what_was_left_is_said_once_at_the_end(made: Ended) -> None:
    assert made.code == 0, made.err
    lines = [json.loads(line) for line in made.err.splitlines()]
    said = {
        "task": "read",
        "caption": "outputs.txt (5)",
        "image": "input.jpg (5)",
        "label": "json fine_label (5)",
        "metadata": "json (5)",
        "not used": "json captions (5), json width (5), mask.png (5)",
    }
    assert [line for line in lines if line["task"] == "read"] == [lines[-1]] == [said]


def test_the_report_holds_the_same_and_the_index_what_was_read(world: Path, made: Ended) -> None:
    assert made.code == 0, made.err
    report = json.loads((world / "index" / "report.json").read_bytes())
    assert (report["n_seen"], report["n_images"], report["skipped"]) == (2 * N, N + 1, {"truncated shard": 3})
    assert report["taken"]["caption"] == {"outputs.txt": 5}
    assert report["left"] == {"json captions": 5, "json width": 5, "mask.png": 5}
    with IndexReader(world / "index") as reader:
        assert reader.sql("SELECT DISTINCT caption, label FROM images") == [("an output", "3")]


def test_options_choose_other_parts_and_belong_to_the_run(world: Path, made: Ended) -> None:
    assert made.code == 0, made.err
    words = [*index_words(world, world / "index"), "--layers", "embed", "--max-bad-fraction", "1"]
    refused = scopeview(*words, "--caption-key", "captions")
    assert (refused.code, "another reading: caption: then None, now 'captions'" in refused.err) == (2, True)
    chosen = [*index_words(world, world / "chosen"), "--layers", "embed", "--max-bad-fraction", "1"]
    ended = scopeview(*chosen, "--caption-key", "captions", "--label-key", "width", "--image-key", "input")
    assert ended.code == 0, ended.err
    with IndexReader(world / "chosen") as reader:
        assert reader.sql("SELECT DISTINCT caption, label FROM images") == [("one", "48")]
