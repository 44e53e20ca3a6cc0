"""What a command says when Ctrl-C ends it is true of that command: it goes on from there, or begins again."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import typer.main

from scopeview.__main__ import cli
from tests.command import scopeview

RESUMES = "scopeview: stopped; run the same command again to resume from here"
FROM_SAVE = "scopeview: stopped; run the same command again to resume from the last checkpoint"
AGAIN = "scopeview: stopped; the same command starts over"
ENDED = "scopeview: stopped"

WEIGHTS = "--model clip --sae suite"
STOPPED = [  # the command, what is under way in it when Ctrl-C comes, what it says
    (f"index photos {WEIGHTS} --out index", "indexer.pipeline.run_index", RESUMES),
    ("describe index", "indexer.describe.redescribe.describe_index", RESUMES),
    (f"calibrate photos {WEIGHTS}", "indexer.normalization_report.compare_normalizations", AGAIN),
    ("verify index", "indexer.verify.verify", AGAIN),
    ("info index", "scopeview.store.manifest.read_manifest", ENDED),
    ("serve index", "app.main.serve", ENDED),
    ("demo --out data", "indexer.demo.build.run_index", RESUMES),
    ("demo --out data", "indexer.demo.build.write_world", AGAIN),
    ("demo --out data", "app.main.serve", ENDED),
    ("demo-images scenes 3", "indexer.world.write_world", AGAIN),
    ("train-clip --out clip", "indexer.training.clip_trainer.train_clip", FROM_SAVE),
    (
        "train-sae world:1 --model clip --layers 1 --features 8 --k 2 --steps 1 --out saes",
        "indexer.training.sae_trainer.train_saes",
        FROM_SAVE,
    ),
    ("eval clip clip", "indexer.training.clip_eval.evaluate_clip", AGAIN),
    ("eval features index", "indexer.evaluation.features.evaluate_features", AGAIN),
    ("eval search index", "indexer.evaluation.search.evaluate_search", AGAIN),
    ("eval heat index", "indexer.evaluation.heatmaps.evaluate_heat", AGAIN),
]


@pytest.fixture(autouse=True)
def own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The demo is drawn and indexed already, unless a test stops just that."""
    monkeypatch.chdir(tmp_path)
    for work in ("run_index", "write_world"):
        monkeypatch.setattr(f"indexer.demo.build.{work}", lambda *_, **__: None)


@pytest.mark.parametrize(("command", "work", "said"), STOPPED)
def test_a_stopped_command_says_what_the_same_command_does_next(
    monkeypatch: pytest.MonkeyPatch, command: str, work: str, said: str
) -> None:
    def stopped(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(work, stopped)
    ended = scopeview(*command.split())
    assert ended.err.splitlines()[-1:] == [said]
    assert ended.code == 130


def commands(group: typer.Typer) -> Iterator[str]:
    for name, command in typer.main.get_command(group).commands.items():  # type: ignore[attr-defined]
        inner = getattr(command, "commands", None)
        yield from [f"{name} {one}" for one in inner] if inner else [name]


def test_every_command_is_looked_at() -> None:
    words = [f"{command} " for command, _, _ in STOPPED]
    assert [name for name in commands(cli) if not any(one.startswith(f"{name} ") for one in words)] == []
