from dataclasses import replace
from typing import Any

import pytest

from indexer.training.clip_config import ClipSettings, check_settings
from scopeview.errors import InputError


def test_what_stands_in_for_nothing_said_is_accepted() -> None:
    settings = ClipSettings()
    check_settings(settings)
    assert settings.n_steps * settings.batch_size >= settings.n_images
    assert settings.schedule.at(settings.schedule.warmup_steps) == 1


def test_every_so_many_steps_and_all_the_last_ones_see_scenes_whole() -> None:
    settings = ClipSettings(n_images=20 * 128, whole_every=6, whole_end=0.1)
    assert [step for step in range(20) if settings.is_full_scene(step)] == [5, 11, 17, 18, 19]
    assert all(replace(settings, window=16).is_full_scene(step) for step in range(20))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"width": 190}, "a width of 190 does not divide among 6 heads; 186 or 192 would"),
        ({"text_width": 2, "text_heads": 4}, "a text width of 2 does not divide among 4 text heads; 4 would"),
        ({"blocks": 0}, "--blocks is 0; expected a whole number above 0"),
        ({"batch_size": 1}, "--batch-size is 1; expected 2 or more"),
        ({"window": 17}, "--window is 17; expected 1 to 16 patches a side"),
        ({"whole_every": 0}, "--full-scene-every is 0; expected a whole number above 0"),
        ({"regions": -1.0}, "--regions is -1.0; expected a weight from 0 to 100"),
        ({"matrix_lr": 1.0}, "--muon-lr is 1.0; expected above 0 and below 1"),
        ({"hard_negatives": 1.5}, "--hard-negatives is 1.5; expected a share from 0 to 1"),
        ({"lr": float("nan")}, "--lr is nan; expected above 0"),
    ],
)
def test_what_cannot_be_is_refused_by_name(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        check_settings(replace(ClipSettings(), **changes))
