from dataclasses import replace
from typing import Any

import pytest

from indexer.training.clip_config import N_PATCHES, ClipSettings, check_settings
from scopeview.errors import InputError


def test_what_stands_in_for_nothing_said_is_accepted() -> None:
    settings = ClipSettings()
    check_settings(settings)
    assert settings.n_patches_kept == N_PATCHES // 2
    assert settings.n_steps * settings.batch_size >= settings.n_images
    assert settings.schedule.at(settings.schedule.warmup_steps) == settings.lr


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"width": 190}, "a width of 190 does not divide among 3 heads; 189 or 192 would"),
        ({"text_width": 2, "text_heads": 4}, "a text width of 2 does not divide among 4 text heads; 4 would"),
        ({"blocks": 0}, "--blocks is 0; expected a whole number above 0"),
        ({"batch_size": 1}, "--batch-size is 1; expected 2 or more"),
        ({"patch_dropout": 1.0}, "--patch-dropout is 1.0; expected a share from 0 to 0.99"),
        ({"hard_negatives": 1.5}, "--hard-negatives is 1.5; expected a share from 0 to 1"),
        ({"lr": float("nan")}, "--lr is nan; expected above 0"),
    ],
)
def test_what_cannot_be_is_refused_by_name(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        check_settings(replace(ClipSettings(), **changes))
