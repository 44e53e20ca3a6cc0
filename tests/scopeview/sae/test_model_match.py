"""When an SAE is taken to be of the model at hand, and when of another one."""

import pytest

from scopeview.sae.model_match import ModelIdentity, ModelMatch, TrainedOn, match_model

LAION = ModelIdentity(("laion/CLIP-ViT-L-14",), "laion/CLIP-ViT-L-14", "aa")
FOLDER = ModelIdentity(("clip-vit-large-patch14",), None, "aa")


@pytest.mark.parametrize("model", [LAION, FOLDER])
def test_a_digest_decides_whatever_the_names(model: ModelIdentity) -> None:
    assert match_model(TrainedOn("anything", sha256="aa"), model) == "same weights"
    assert match_model(TrainedOn(model.names[0], sha256="bb"), model) == "different"


@pytest.mark.parametrize(
    ("name", "model", "expected"),
    [
        ("laion/CLIP-ViT-L-14", LAION, "same name"),
        ("open-clip:laion/clip-vit-l-14@main", LAION, "same name"),
        ("CLIP-ViT-L-14", LAION, "same name"),
        ("openai/clip-vit-large-patch14", FOLDER, "same name"),
        ("openai/clip-vit-large-patch14", LAION, "different"),
        ("another/CLIP-ViT-L-14", LAION, "uncertain"),
        ("clip-vit-base-patch32", LAION, "uncertain"),
        ("openai/clip-vit-base-patch32", FOLDER, "uncertain"),
    ],
)
def test_names_decide_only_between_two_repositories(
    name: str, model: ModelIdentity, expected: ModelMatch
) -> None:
    assert match_model(TrainedOn(name), model) == expected


@pytest.mark.parametrize("trained_on", [None, TrainedOn(None), TrainedOn("")])
def test_without_a_name_or_digest_nothing_is_said(trained_on: TrainedOn | None) -> None:
    assert match_model(trained_on, LAION) is None
