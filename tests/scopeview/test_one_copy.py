"""Weights are mapped from their safetensors files, and an encoder holds no second copy of any."""

import os
from pathlib import Path

import pytest
import torch

from scopeview.model_spec import plan_recipe
from scopeview.sae.normalization import Standardization
from scopeview.vision.encoder import Encoder
from tests.indexer.tiny import WIDTH, write_model, write_suite

MAPS = Path("/proc/self/maps")


@pytest.fixture
def encoder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Encoder:
    monkeypatch.setenv("SCOPEVIEW_CACHE", str(tmp_path / "cache"))
    recipe = plan_recipe(
        str(write_model(tmp_path / "model")), str(write_suite(tmp_path / "suite")), tokens=["cls"]
    )
    clip = recipe.load_clip(device="cpu", dtype="float32")
    stats = Standardization(torch.zeros(WIDTH), torch.ones(WIDTH), 9)
    return Encoder(clip, recipe.normalized(recipe.load_saes(), {1: stats}, clip.device), recipe.tokens)


@pytest.mark.skipif(not MAPS.is_file(), reason="only Linux says what is mapped")
def test_every_weight_lies_in_its_file(encoder: Encoder) -> None:
    mapped = []
    for line in MAPS.read_text().splitlines():
        span, *_, path = line.split(maxsplit=5)
        if path.endswith(".safetensors"):
            start, end = (int(address, 16) for address in span.split("-"))
            mapped.append((start, end, os.path.basename(path)))  # noqa: PTH119

    def file_of(tensor: torch.Tensor) -> str:
        address = tensor.data_ptr()
        return next((name for start, end, name in mapped if start <= address < end), "memory")

    weights = {name: file_of(tensor) for name, tensor in encoder.clip.model.named_parameters()}
    assert set(weights.values()) == {"model.safetensors"}, weights
    of_sae = {layer: {file_of(tensor) for tensor in sae.buffers()} for layer, sae in encoder.saes.items()}
    assert of_sae["embed"] == {"sae.safetensors"}
    assert {name.endswith(".safetensors") for name in of_sae[1]} == {True}


def test_the_facts_count_each_weight_once(encoder: Encoder) -> None:
    n_numbers = sum(tensor.numel() for tensor in encoder.clip.model.parameters())
    n_numbers += sum(tensor.numel() for sae in encoder.saes.values() for tensor in sae.buffers())
    assert encoder.facts()["n_bytes"] == 4 * n_numbers
