"""What a run may be asked for."""

from pathlib import Path
from typing import Any

import pytest

from indexer.training.sae_config import Plan, TrainRequest, check_request, make_plan
from scopeview.errors import InputError
from scopeview.slots import EMBED


def _request(**changes: Any) -> TrainRequest:
    usual: dict[str, Any] = {
        "source": "world:0",
        "model": "m",
        "layers": (1, EMBED),
        "out": Path("o"),
        "n_features": 64,
        "k": 4,
        "n_images": 3200,
    }
    return TrainRequest(**{**usual, **changes})


def _plan(request: TrainRequest) -> Plan:
    return make_plan(request, widths={1: 32, EMBED: 16}, n_tokens=257, dtype="float32", on_gpu=False)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"k": None}, "--k None does not make sense with 64 features"),
        ({"k": 64}, "expected from 1 to 63"),
        ({"l1": 1.0}, "--l1 is for --architecture relu"),
        ({"architecture": "relu"}, "relu takes --l1"),
        ({"architecture": "relu", "k": None, "l1": -1.0}, "--l1 -1.0 is too small"),
        ({"n_features": 1, "k": 1}, "--k 1"),
        ({"n_images": None}, "either --images or --steps"),
        ({"n_steps": 5}, "either --images or --steps"),
        ({"n_images": 0}, "--images 0 is too small"),
        ({"batch_size": 0}, "--batch-size 0 is too small"),
        ({"layers": ()}, "--layers names none"),
        ({"lr": 5.0}, "--lr 5.0"),
    ],
)
def test_what_makes_no_sense_is_refused_by_name(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        check_request(_request(**changes))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"n_images": 10}, "less than one batch of 16"),
        ({"warmup_steps": 200}, "--warmup 200 takes all of the 200 steps"),
        ({"buffer_images": 20}, "not a multiple of the batch of 16"),
    ],
)
def test_a_run_that_cannot_be_planned_is_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        _plan(_request(**changes))


def test_a_feature_is_dead_after_a_tenth_of_the_run() -> None:
    of_block, of_embed = _plan(_request()).saes
    assert (of_block.dead_after, of_embed.dead_after) == (3200 * 257 // 10, 200 * 1024 // 10)


def test_but_after_ten_million_tokens_at_most() -> None:
    assert _plan(_request(n_images=10_000_000)).saes[0].dead_after == 10_000_000


def test_the_buffer_is_bounded_whatever_the_width() -> None:
    wide = make_plan(_request(), widths={1: 100_000}, n_tokens=257, dtype="float32", on_gpu=False)
    assert wide.buffer_images == wide.batch_size
    assert _plan(_request()).buffer_images == 64 * wide.batch_size
