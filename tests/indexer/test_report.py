"""The report counts every sample that was left out, by reason, and says when there are too many."""

import json
from pathlib import Path
from typing import Any

import pytest

from indexer.parts import count_unused_fields, describe_fields
from indexer.report import RunReport, summarize
from indexer.shard_writer import ShardMarker
from indexer.sources import SourceOptions
from indexer.sources.sample import Parts
from scopeview.errors import BadReason, TooManyBadImagesError


def bad(key: str, reason: BadReason = BadReason.CORRUPT) -> dict[str, str]:
    return {"key": key, "reason": reason, "detail": "because"}


def marker(name: str, n_images: int, *entries: dict[str, Any], notes: int = 0) -> ShardMarker:
    noted = [bad(str(i), BadReason.BAD_METADATA) for i in range(notes)]
    return ShardMarker(name, "0", n_images + len(entries), n_images, list(entries), noted)


MARKERS = [
    marker("one.tar", 5, bad("a"), bad("b", BadReason.EMPTY)),
    marker("two.tar", 0),
    marker("three.tar", 2, bad("a"), notes=2),
]


def test_totals_are_over_all_shards() -> None:
    report = summarize(MARKERS)
    assert (report.n_seen, report.n_images, report.n_skipped) == (10, 7, 3)
    assert report.skipped == {"corrupt image": 2, "empty file": 1}
    assert report.notes == {"bad metadata": 2}  # used all the same


def test_entries_say_which_shard_they_are_from() -> None:
    assert [(entry["shard"], entry["key"]) for entry in summarize(MARKERS).entries] == [
        ("one.tar", "a"),
        ("one.tar", "b"),
        ("three.tar", "a"),
    ]


def test_a_lost_shard_counts_all_that_is_known_to_be_lost() -> None:
    """39 of 80 images are lost with the second shard, which gave one and a complaint."""
    cut = {**bad("two.tar", BadReason.TRUNCATED_SHARD), "n_samples": 39}
    report = summarize([marker("one.tar", 40), marker("two.tar", 1, cut)])
    assert (report.n_seen, report.n_images, report.n_skipped) == (80, 41, 39)
    with pytest.raises(TooManyBadImagesError, match="39 of 80 samples cannot be used"):
        report.check(max_bad_fraction=0.1)


def test_what_was_taken_and_what_was_left_is_added_up() -> None:
    shards = [
        ShardMarker("a", "0", 3, 3, taken={"caption": {"txt": 3}}, unused={"mask.png": 3}),
        ShardMarker("b", "0", 2, 2, taken={"caption": {"txt": 1, "json TEXT": 1}}, unused={"npy": 1}),
    ]
    report = summarize(shards)
    assert report.taken == {"caption": {"json TEXT": 1, "txt": 4}}
    assert report.left == {"mask.png": 3, "npy": 1}
    assert describe_fields(report.taken, report.left, SourceOptions(label_key="breed")) == {
        "caption": "txt (4), json TEXT (1)",
        "label": "nothing is called 'breed'",
        "not used": "mask.png (3), npy (1)",
    }


def test_of_very_many_names_only_the_commonest_are_kept() -> None:
    found = {Parts((), (f"{number:03d}",)): 1 for number in range(300)} | {Parts((), ("often",)): 5}
    left = count_unused_fields(found)
    assert (len(left), left["often"], left["others"]) == (101, 5, 201)


def test_only_the_first_thousand_are_listed_but_all_are_counted() -> None:
    report = summarize([marker("big.tar", 1, *(bad(str(i)) for i in range(1500)))])
    assert len(report.entries) == 1000
    assert report.skipped == {"corrupt image": 1500}


def test_it_is_written_as_it_is(tmp_path: Path) -> None:
    report = summarize(MARKERS)
    report.write(tmp_path)
    assert RunReport(**json.loads((tmp_path / "report.json").read_bytes())) == report


def test_the_threshold_itself_is_allowed() -> None:
    summarize(MARKERS).check(max_bad_fraction=0.3)


def test_over_the_threshold_the_run_fails_with_the_reasons() -> None:
    with pytest.raises(TooManyBadImagesError) as caught:
        summarize(MARKERS).check(max_bad_fraction=0.29)
    assert "3 of 10 samples cannot be used (2 corrupt image, 1 empty file): 30.0%" in str(caught.value)
    assert "--max-bad-fraction allows 29.0%" in str(caught.value)


def test_a_run_without_an_image_fails_whatever_is_allowed() -> None:
    with pytest.raises(TooManyBadImagesError, match="1 of 1 samples"):
        summarize([marker("one.tar", 0, bad("a"))]).check(max_bad_fraction=1.0)
    with pytest.raises(TooManyBadImagesError, match="no samples"):
        summarize([marker("one.tar", 0)]).check(max_bad_fraction=1.0)
