"""The learning rate, step by step."""

import pytest

from indexer.training.schedule import Decay, Schedule


def test_the_rate_warms_up_to_its_peak_and_decays_linearly_to_nothing() -> None:
    schedule = Schedule(peak=1.0, n_steps=8, warmup_steps=4, decay="linear")
    assert [schedule.at(step) for step in range(9)] == [0.25, 0.5, 0.75, 1.0, 1.0, 0.75, 0.5, 0.25, 0.0]


def test_the_peak_may_be_held_before_the_decay() -> None:
    schedule = Schedule(peak=1.0, n_steps=8, warmup_steps=2, decay="linear", hold_steps=2)
    assert [schedule.at(step) for step in range(9)] == [0.5, 1, 1, 1, 1, 0.75, 0.5, 0.25, 0]


def test_a_cosine_is_at_half_its_peak_half_way() -> None:
    schedule = Schedule(peak=2.0, n_steps=100, decay="cosine")
    assert [schedule.at(0), schedule.at(50), schedule.at(100)] == pytest.approx([2.0, 1.0, 0.0])


@pytest.mark.parametrize("decay", ["linear", "cosine"])
def test_a_decay_ends_at_its_floor_and_stays_there(decay: Decay) -> None:
    schedule = Schedule(peak=1.0, n_steps=10, decay=decay, floor=0.1)
    assert [schedule.at(10), schedule.at(25)] == pytest.approx([0.1, 0.1])


def test_no_decay_keeps_the_peak() -> None:
    assert Schedule(peak=0.5, n_steps=10, decay="none").at(9) == 0.5
