"""What a recipe chooses where nothing is asked for."""

from pathlib import Path

import pytest

from scopeview.errors import InputError
from scopeview.model_spec import plan_recipe
from tests.command import scopeview
from tests.models import save_random_clip
from tests.saes import save_random_clipscope, save_random_native


@pytest.mark.parametrize(("patches", "middle"), [(4, "11"), (7, "25")])
def test_the_default_tokens_are_cls_and_the_patch_in_the_middle(
    tmp_path: Path, patches: int, middle: str
) -> None:
    model = save_random_clip(tmp_path / "clip", image_px=8 * patches, width=32, n_layers=2)
    save_random_native(tmp_path / "suite", layer=1, d_in=32, n_features=48, k=4)
    recipe = plan_recipe(str(model), str(tmp_path / "suite"), tokens=None)
    assert recipe.tokens == ["cls", middle]
    with pytest.raises(InputError, match="token 137 does not exist"):
        plan_recipe(str(model), str(tmp_path / "suite"), tokens=["cls", "137"])


def test_the_help_says_what_the_default_tokens_are() -> None:
    text = " ".join(scopeview("index", "--help").out.replace("│", " ").split())
    assert "Default: cls and the center patch" in text


def test_an_assumed_normalisation_is_warned_of_unless_another_is_asked_for(tmp_path: Path) -> None:
    model = str(save_random_clip(tmp_path / "clip", image_px=32, width=32, n_layers=2))
    suite = str(save_random_clipscope(tmp_path / "suite", layer=1, d_in=32, n_features=48, k=4))
    [warning] = plan_recipe(model, suite).warnings
    assert warning.startswith("1_resid/1200013184.pt: does not say how its inputs were normalised")
    assert plan_recipe(model, suite, normalization="none").warnings == []
