"""The folder of a training run."""

from pathlib import Path

import pytest
import torch

from indexer.training.checkpoint import RunFolder
from scopeview.errors import ConfigMismatchError, InputError


def test_a_checkpoint_comes_back_bit_for_bit(tmp_path: Path) -> None:
    run = RunFolder(tmp_path)
    run.save({"step": 3, "layers": {"embed": {"w": torch.tensor([0.1, -2.0]), "names": ["a"]}}})
    state = run.load()
    assert state is not None
    assert (state["step"], state["layers"]["embed"]["names"]) == (3, ["a"])
    assert torch.equal(state["layers"]["embed"]["w"], torch.tensor([0.1, -2.0]))


def test_a_run_that_never_saved_has_no_checkpoint(tmp_path: Path) -> None:
    assert RunFolder(tmp_path).load() is None


def test_a_damaged_checkpoint_is_refused_by_name(tmp_path: Path) -> None:
    (tmp_path / "checkpoint.pt").write_bytes(b"not a checkpoint")
    with pytest.raises(InputError, match=r"checkpoint\.pt cannot be read"):
        RunFolder(tmp_path).load()


def test_the_same_configuration_may_go_on(tmp_path: Path) -> None:
    run = RunFolder(tmp_path)
    run.begin({"k": 16, "layers": (1, 3)})
    run.begin({"k": 16, "layers": [1, 3]})


def test_another_configuration_is_refused_naming_the_field(tmp_path: Path) -> None:
    run = RunFolder(tmp_path)
    run.begin({"k": 16, "seed": 0})
    run.save({"step": 1})
    with pytest.raises(ConfigMismatchError, match="another k: then 16, now 32"):
        run.begin({"k": 32, "seed": 0})


def test_a_run_that_was_refused_before_its_first_checkpoint_may_begin_otherwise(tmp_path: Path) -> None:
    run = RunFolder(tmp_path)
    run.begin({"calibration_images": 512})
    run.begin({"calibration_images": 20})
    run.save({"step": 1})
    with pytest.raises(ConfigMismatchError, match="another calibration_images: then 20, now 512"):
        run.begin({"calibration_images": 512})


def test_a_folder_of_something_else_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "holiday.jpg").touch()
    with pytest.raises(InputError, match=r"not empty .*holiday\.jpg"):
        RunFolder(tmp_path).begin({})


def test_finishing_leaves_the_result_and_no_checkpoint(tmp_path: Path) -> None:
    run = RunFolder(tmp_path)
    run.save({"step": 1})
    run.finish({"loss": 0.5})
    assert run.result() == {"loss": 0.5}
    assert run.load() is None
