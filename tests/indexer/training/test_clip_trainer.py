import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from statistics import fmean

import pytest
import torch

from indexer.training import clip_trainer
from indexer.training.checkpoint import CHECKPOINT, RESULT
from indexer.training.clip_config import ClipSettings
from indexer.training.clip_trainer import train_clip
from indexer.training.log import read_log
from scopeview.__main__ import main
from scopeview.errors import ConfigMismatchError, InputError
from tests.indexer.training.clips import BATCH_SIZE, request, tiny

WEIGHTS = "model.safetensors"
N_STEPS = 24
N_ALONE = 10


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that nothing interrupted."""
    out = tmp_path_factory.mktemp("clip") / "finished"
    train_clip(request(out, tiny(N_STEPS)))
    return out


def test_the_loss_falls_and_the_log_has_every_step(finished: Path) -> None:
    log = read_log(finished / "log.jsonl")
    assert [line["step"] for line in log] == list(range(N_STEPS))
    losses = [line["loss"] for line in log]
    alone, with_texts = losses[:N_ALONE], losses[N_ALONE:]
    assert fmean(alone[2:]) < fmean(alone[:2]) - 0.1
    assert fmean(with_texts[-4:]) < fmean(with_texts[:4]) - 0.5
    assert {"loss", "named", "lr", "logit_scale", "images_per_s"} < set(log[0])


def test_texts_join_when_images_have_learned_alone(finished: Path) -> None:
    contrasted = ["accuracy" in line for line in read_log(finished / "log.jsonl")]
    assert contrasted == [False] * N_ALONE + [True] * (N_STEPS - N_ALONE)


def test_a_finished_run_says_what_it_was_and_is_not_made_again(finished: Path) -> None:
    before = (finished / WEIGHTS).stat().st_mtime_ns
    result = train_clip(request(finished, tiny(N_STEPS)))
    assert (finished / WEIGHTS).stat().st_mtime_ns == before
    assert result["settings"] == asdict(tiny(N_STEPS))
    assert result["n_images"] == N_STEPS * BATCH_SIZE
    assert not (finished / CHECKPOINT).exists()


@pytest.mark.slow
def test_a_run_killed_at_any_moment_ends_with_the_same_weights(finished: Path, tmp_path: Path) -> None:
    killed = tmp_path / "killed"
    command = [sys.executable, "-m", "scopeview", *_options(killed, tiny(N_STEPS))]
    # Sums are rounded otherwise when more threads share them.
    environment = {**os.environ, "OMP_NUM_THREADS": str(torch.get_num_threads())}
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment) as process:
        assert process.stderr is not None
        for line in process.stderr:
            if json.loads(line)["done"] >= 5 * BATCH_SIZE:
                process.kill()
                break
    assert not (killed / RESULT).exists()
    assert (killed / CHECKPOINT).exists()
    train_clip(request(killed, tiny(N_STEPS)))
    assert (killed / WEIGHTS).read_bytes() == (finished / WEIGHTS).read_bytes()
    losses = [[line["loss"] for line in read_log(out / "log.jsonl")] for out in (killed, finished)]
    assert losses[0] == losses[1]


def test_a_pause_saves_the_step_under_way_and_the_run_goes_on_from_it(
    finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(clip_trainer, "pausable", _asked_after(7))
        with pytest.raises(KeyboardInterrupt):
            train_clip(request(tmp_path, tiny(N_STEPS), checkpoint_every=1000))
    assert not (tmp_path / WEIGHTS).exists()
    train_clip(request(tmp_path, tiny(N_STEPS)))
    assert (tmp_path / WEIGHTS).read_bytes() == (finished / WEIGHTS).read_bytes()


def test_another_configuration_is_refused_by_name(finished: Path) -> None:
    for changes, name in (
        ({"lr": 0.01}, "lr"),
        ({"seed": 3}, "seed"),
        ({"window": 9}, "window"),
    ):
        with pytest.raises(ConfigMismatchError, match=f"begun with another {name}: then "):
            train_clip(request(finished, replace(tiny(N_STEPS), **changes)))


def test_a_world_drawn_otherwise_is_refused(finished: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clip_trainer, "training_world", lambda _seed: 5)
    with pytest.raises(ConfigMismatchError, match="begun with another world"):
        train_clip(request(finished, tiny(N_STEPS)))


def test_what_cannot_be_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="does not divide"):
        train_clip(request(tmp_path / "none", tiny(width=33)))
    assert not (tmp_path / "none").exists()


def test_the_command_line_ends_with_2_for_a_width_that_does_not_divide(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["scopeview", *_options(tmp_path / "none", tiny(width=33))])
    with pytest.raises(SystemExit, match=r"^2$"):
        main()
    assert "a width of 33 does not divide among 2 heads; 32 or 34 would" in capsys.readouterr().err


def _options(out: Path, settings: ClipSettings) -> list[str]:
    names = {"n_images": "images"}
    options = [
        f"--{names.get(name, name).replace('_', '-')}={value}"
        for name, value in asdict(settings).items()
        if name != "max_gradient_norm"
    ]
    fixed = ["--workers=0", "--checkpoint-every=2", "--log-every=1", "--device=cpu"]
    return ["train-clip", f"--out={out}", *options, *fixed]


def _asked_after(n_steps: int) -> Callable[[], object]:
    """Stands in for `pausable`: asks for a pause from step `n_steps` on; each step asks once or twice."""

    @contextmanager
    def pausable() -> Iterator[Callable[[], bool]]:
        times = iter(range(10**6))
        yield lambda: next(times) >= n_steps

    return pausable
