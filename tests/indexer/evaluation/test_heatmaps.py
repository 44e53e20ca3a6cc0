"""`eval heat` from outside, on an index of a model that knows nothing."""

import json
from pathlib import Path

import pytest

from tests.command import scopeview
from tests.indexer.evaluation.conftest import SEED

SMALL = ("--seed", SEED, "--scenes", 12, "--single", 3, "--device", "cpu")


def test_the_tables_and_the_json_say_the_same(index: Path, tmp_path: Path) -> None:
    ended = scopeview("eval", "heat", index, *SMALL, "--json", tmp_path / "heat.json")
    assert ended.code == 0, ended.err
    text = (tmp_path / "heat.json").read_text()
    found = json.loads(text)
    assert "NaN" not in text
    assert (found["seed"], found["fresh_seed"], found["n_scenes"], found["n_single"]) == (SEED, 1, 12, 3)
    assert list(found["located"]) == ["1"]  # the embedding has no patches
    colour = found["located"]["1"]["colour"]
    line = next(row.split() for row in ended.out.splitlines() if row.split()[:2] == ["1", "colour"])
    assert line[2:6] == [str(colour["n_things"]), "of", "12", str(colour["n_pairs"])]
    places = [("1", "any"), ("1", "cls"), ("embed", "cls")]
    assert [(line["question"], str(line["layer"]), line["token"]) for line in found["removed"]] == [
        (question, *place)
        for question in ("kind", "colour", "kind and colour", "caption")
        for place in places
    ]
    for line in found["removed"]:
        assert 0 <= line["halves"] <= line["lowers"] <= 1
        assert 0 < line["share"] <= 1
        row = next(
            row
            for row in ended.out.splitlines()
            if row.startswith(f"{line['question']:16}{line['layer']!s:7}{line['token']:5}")
        )
        assert f"{line['lowers']:.1%}" in row
        assert f"{line['after']:.3f}" in row


def test_the_same_words_give_the_same_figures(index: Path, tmp_path: Path) -> None:
    for name in ("one", "two"):
        ended = scopeview("eval", "heat", index, *SMALL, "--json", tmp_path / name)
        assert ended.code == 0, ended.err
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--fresh-seed", SEED), "fresh scenes are of another one"),
        (("--seed", SEED + 1, "--fresh-seed", 7), f"is not scene 0 of world {SEED + 1}"),
        (("--device", "warp"), "warp"),
    ],
)
def test_wrong_options_are_refused(index: Path, words: tuple[object, ...], said: str) -> None:
    ended = scopeview("eval", "heat", index, *SMALL, *words)
    assert ended.code == 2
    assert said in ended.err
