"""The figures of a run on disk."""

from pathlib import Path

import pytest

from indexer.training.log import read_log, training_log


def test_each_step_is_one_line(tmp_path: Path) -> None:
    with training_log(tmp_path / "log.jsonl", first_step=0) as log:
        log.write(0, {"loss": 1.5})
        log.write(1, {"layers": {"5": {"loss": 0.5}}})
    expected = [{"step": 0, "loss": 1.5}, {"step": 1, "layers": {"5": {"loss": 0.5}}}]
    assert read_log(tmp_path / "log.jsonl") == expected


def test_a_resumed_run_drops_the_steps_it_will_make_again_and_a_torn_line(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    path.write_text('{"step": 0, "loss": 3}\n{"step": 5, "loss": 2}\n{"step": 6, "lo')
    with training_log(path, first_step=5) as log:
        log.write(5, {"loss": 1})
    assert read_log(path) == [{"step": 0, "loss": 3}, {"step": 5, "loss": 1}]


def test_a_figure_that_is_no_number_is_not_written(tmp_path: Path) -> None:
    with training_log(tmp_path / "log.jsonl", first_step=0) as log, pytest.raises(ValueError, match="JSON"):
        log.write(0, {"loss": float("nan")})
