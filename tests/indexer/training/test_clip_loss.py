import math

import pytest
import torch

from indexer.training.clip_loss import contrast, mean_by_region, region_contrast

NONE = torch.zeros(2, 2, dtype=torch.bool)


def test_the_loss_is_the_mean_of_both_directions() -> None:
    images = torch.tensor([[2.0, 0.0], [0.0, 3.0]])
    texts = torch.tensor([[1.0, 0.0], [1.0, 0.0]])
    found = contrast(images, texts, torch.tensor(2.0), NONE)
    by_image = math.log(2)
    by_text = (math.log(1 + math.exp(-2)) + math.log(1 + math.exp(2))) / 2
    assert found.loss.item() == pytest.approx((by_image + by_text) / 2, rel=1e-6)


def test_what_is_also_true_is_no_negative() -> None:
    images = texts = torch.eye(3)
    wrong = texts[[0, 2, 1]]
    also_true = torch.zeros(3, 3, dtype=torch.bool)
    assert contrast(images, wrong, torch.tensor(10.0), also_true).accuracy.item() == pytest.approx(1 / 3)
    also_true[1, 2] = also_true[2, 1] = True
    found = contrast(images, wrong, torch.tensor(10.0), also_true)
    assert found.accuracy.item() >= 1 / 3
    assert found.loss < contrast(images, wrong, torch.tensor(10.0), torch.zeros_like(also_true)).loss


def test_where_everything_else_is_also_true_there_is_nothing_to_learn() -> None:
    images = torch.eye(2, requires_grad=True)
    found = contrast(images, torch.eye(2).flip(0), torch.tensor(5.0), ~torch.eye(2, dtype=torch.bool))
    found.loss.backward()  # type: ignore[no-untyped-call]
    assert found.loss.item() == 0
    assert images.grad is not None
    assert images.grad.abs().sum() == 0


def test_each_patch_is_told_its_region_s_name_from_all_others() -> None:
    patches = torch.tensor([[2.0, 0.0], [1.0, 0.0], [1.0, 0.0]])
    losses = region_contrast(patches, torch.tensor([0, 0, 1]), torch.eye(2), torch.tensor(1.0), NONE)
    right, wrong = math.log(1 + math.exp(-1)), math.log(1 + math.exp(1))
    assert losses.tolist() == pytest.approx([right, right, wrong], rel=1e-6)


def test_a_name_that_is_also_true_of_a_region_is_no_wrong_answer() -> None:
    also_true = torch.tensor([[False, True], [True, False]])
    of_patch = torch.tensor([0, 1])
    losses = region_contrast(torch.eye(2), of_patch, torch.eye(2).flip(0), torch.tensor(5.0), also_true)
    assert losses.tolist() == [0, 0]


def test_each_region_counts_alike() -> None:
    losses, regions = torch.tensor([1.0, 2.0, 3.0, 10.0]), torch.tensor([0, 0, 0, 2])
    assert mean_by_region(losses, regions).item() == 6
