import json
from pathlib import Path

import pytest

from indexer.training.clip_eval import (
    ClipMetrics,
    background_prompts,
    colour_prompts,
    evaluate_clip,
    kind_prompts,
    print_figures,
)
from indexer.training.clip_model import new_clip, save_clip
from indexer.world.captions import vocabulary
from indexer.world.kinds import kinds
from scopeview.errors import InputError
from tests.indexer.training.clips import tiny


@pytest.fixture(scope="module")
def untrained(tmp_path_factory: pytest.TempPathFactory) -> ClipMetrics:
    folder: Path = tmp_path_factory.mktemp("clip")
    save_clip(folder, new_clip(tiny()))
    return evaluate_clip(str(folder), seed=3, n_images=200)


def test_a_model_that_learned_nothing_guesses(untrained: ClipMetrics) -> None:
    for figure in (untrained.kind, untrained.colour, untrained.background, untrained.retrieval):
        assert figure.accuracy < figure.chance + 0.15
        assert figure.n == 200
    assert untrained.kind.chance == 1 / 26
    assert set(untrained.by_kind) == set(kinds())


def test_figures_are_printed_as_a_table_and_as_json(
    untrained: ClipMetrics, capsys: pytest.CaptureFixture[str]
) -> None:
    print_figures(untrained, as_json=True)
    printed = json.loads(capsys.readouterr().out)
    assert printed["kind"] == untrained.kind._asdict()
    assert (printed["seed"], len(printed["by_kind"])) == (3, 26)
    print_figures(untrained, as_json=False)
    table = capsys.readouterr().out
    assert "kind of the object, by prompt" in table
    assert "hardest kinds: " in table


def test_prompts_use_words_that_the_model_was_taught() -> None:
    known = set(vocabulary())
    for prompts in (kind_prompts(), colour_prompts(), background_prompts()):
        assert all(set(text.split()) <= known for texts in prompts.values() for text in texts)
        assert all(texts for texts in prompts.values())


def test_too_few_images_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="99 images are too few"):
        evaluate_clip(str(tmp_path), seed=0, n_images=99)
