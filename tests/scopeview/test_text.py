"""The text tower: what transformers itself says of the same words, and folders that have none."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoTokenizer, CLIPModel

from scopeview.errors import ModelError
from scopeview.text import TextEncoder, text_problem
from tests.models import save_random_clip

TEXTS = ["a photo of a dog", "red circle", "a", "cat " * 40]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_random_clip(tmp_path_factory.mktemp("clip"), width=32, n_layers=1, n_heads=2)


def test_texts_are_embedded_as_transformers_embeds_them(folder: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(folder)
    tokens = tokenizer(TEXTS, padding=True, truncation=True, return_tensors="pt")
    model = CLIPModel.from_pretrained(folder).eval()  # type: ignore[no-untyped-call]
    with torch.inference_mode():
        expected = model.get_text_features(tokens["input_ids"], tokens["attention_mask"]).pooler_output
    expected = (expected / expected.norm(dim=1, keepdim=True)).numpy()
    assert np.allclose(TextEncoder.load(folder).embed(TEXTS), expected, atol=1e-5)


def test_a_text_does_not_depend_on_those_beside_it(folder: Path) -> None:
    encoder = TextEncoder.load(folder)
    alone = np.concatenate([encoder.embed([text]) for text in TEXTS])
    assert np.allclose(encoder.embed(TEXTS), alone, atol=1e-5)
    assert np.allclose(np.linalg.norm(alone, axis=1), 1, atol=1e-5)
    assert encoder.embed([]).shape == (0, alone.shape[1])


def test_a_folder_without_a_tokenizer_says_so(folder: Path, tmp_path: Path) -> None:
    for path in folder.iterdir():
        if not path.name.startswith("tokenizer"):
            (tmp_path / path.name).symlink_to(path)
    assert text_problem(tmp_path) == "the model's folder has no tokenizer"
    with pytest.raises(ModelError, match="no tokenizer, so no text can be embedded"):
        TextEncoder.load(tmp_path)


def test_a_vision_tower_alone_says_so(folder: Path, tmp_path: Path) -> None:
    for path in folder.iterdir():
        if path.name != "model.safetensors":
            (tmp_path / path.name).symlink_to(path)
    tensors = load_file(folder / "model.safetensors")
    vision = {name: tensor for name, tensor in tensors.items() if name.startswith("vision")}
    save_file(vision, tmp_path / "model.safetensors")
    assert text_problem(tmp_path) == "the model has no text tower"


def test_a_missing_weight_is_named(folder: Path, tmp_path: Path) -> None:
    for path in folder.iterdir():
        if path.name != "model.safetensors":
            (tmp_path / path.name).symlink_to(path)
    tensors = load_file(folder / "model.safetensors")
    del tensors["text_projection.weight"]
    save_file(tensors, tmp_path / "model.safetensors")
    with pytest.raises(ModelError, match=r"1 weights are missing, among them text_projection\.weight"):
        TextEncoder.load(tmp_path)


def test_a_torn_tokenizer_is_named(folder: Path, tmp_path: Path) -> None:
    for path in folder.iterdir():
        if path.name != "tokenizer.json":
            (tmp_path / path.name).symlink_to(path)
    (tmp_path / "tokenizer.json").write_text(json.dumps({"version": "1.0"}))
    with pytest.raises(ModelError, match="has no tokenizer that can be used"):
        TextEncoder.load(tmp_path)


def test_words_that_the_tokenizer_has_no_token_for_are_unknown(folder: Path) -> None:
    encoder = TextEncoder.load(folder)
    assert encoder.unknown_words("a zebra photo zebra") == ["zebra"]
    assert encoder.unknown_words("红色的心 😀 red") == ["红色的心", "😀"]
    assert encoder.unknown_words("") == []
