"""The text encoder: what transformers itself says of the same words, and folders that have none."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoTokenizer, CLIPModel

from scopeview.errors import ModelError
from scopeview.vision.text import TextEncoder, text_problem
from tests.models import WORDS, save_random_clip

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
    with pytest.raises(ModelError, match="has no tokenizer"):
        TextEncoder.load(tmp_path)


def test_a_vision_tower_alone_says_so(folder: Path, tmp_path: Path) -> None:
    for path in folder.iterdir():
        if path.name != "model.safetensors":
            (tmp_path / path.name).symlink_to(path)
    tensors = load_file(folder / "model.safetensors")
    vision = {name: tensor for name, tensor in tensors.items() if name.startswith("vision")}
    save_file(vision, tmp_path / "model.safetensors")
    assert text_problem(tmp_path) == "the model has no text encoder"


def test_a_missing_weight_is_named(folder: Path, tmp_path: Path) -> None:
    for path in folder.iterdir():
        if path.name != "model.safetensors":
            (tmp_path / path.name).symlink_to(path)
    tensors = load_file(folder / "model.safetensors")
    del tensors["text_projection.weight"]
    save_file(tensors, tmp_path / "model.safetensors")
    with pytest.raises(ModelError, match=r"1 weights are missing, among them text_projection\.weight"):
        TextEncoder.load(tmp_path)


def damaged(folder: Path, copy: Path, **changes: dict[str, Any]) -> Path:
    """The folder with other values in its JSON files, by name (`tokenizer`); None removes one."""
    copy.mkdir(exist_ok=True)
    for path in folder.iterdir():
        (copy / path.name).write_bytes(path.read_bytes())
    for name, values in changes.items():
        path = copy / f"{name}.json"
        content = {**json.loads(path.read_text()), **values}
        path.write_text(json.dumps({key: value for key, value in content.items() if value is not None}))
    return copy


def test_a_tokenizer_with_more_ids_than_the_text_tower_says_so(folder: Path, tmp_path: Path) -> None:
    words = {word: number for number, word in enumerate([*WORDS, "one", "more"])}
    model = {"type": "WordLevel", "vocab": words, "unk_token": WORDS[1]}
    problem = text_problem(damaged(folder, tmp_path, tokenizer={"model": model}))
    assert problem == (
        f"the tokenizer has ids up to {len(WORDS) + 1}, but the text encoder has {len(WORDS)} of them: it is "
        "another model's"
    )


def test_a_tokenizer_without_words_says_so(folder: Path, tmp_path: Path) -> None:
    model = {"type": "WordLevel", "vocab": {}, "unk_token": ""}
    nothing: dict[str, Any] = {"model": model, "post_processor": None, "added_tokens": []}
    assert text_problem(damaged(folder, tmp_path, tokenizer=nothing)) is not None


def test_a_tokenizer_without_an_unknown_token_says_so(folder: Path, tmp_path: Path) -> None:
    model = {
        "type": "WordLevel",
        "vocab": dict(zip(WORDS, range(len(WORDS)), strict=True)),
        "unk_token": "[]",
    }
    found = damaged(folder, tmp_path, tokenizer={"model": model}, tokenizer_config={"unk_token": None})
    assert "cannot take words that it does not know" in (text_problem(found) or "")


def test_without_a_padding_token_texts_are_embedded_all_the_same(folder: Path, tmp_path: Path) -> None:
    found = damaged(folder, tmp_path, tokenizer_config={"pad_token": None})
    assert text_problem(found) is None
    assert np.array_equal(TextEncoder.load(found).embed(TEXTS), TextEncoder.load(folder).embed(TEXTS))


def test_one_embedding_for_all_texts_is_noticed(folder: Path, tmp_path: Path) -> None:
    text = json.loads((folder / "config.json").read_text())["text_config"]
    found = damaged(folder, tmp_path, config={"text_config": {**text, "eos_token_id": 49407}})
    assert "one embedding for all texts: the config's eos_token_id is 49407" in (text_problem(found) or "")


def test_a_problem_names_no_folder_of_this_machine(folder: Path, tmp_path: Path) -> None:
    found = damaged(folder, tmp_path, tokenizer={"model": {"type": "none"}})
    problem = text_problem(found) or ""
    assert "no tokenizer that can be used" in problem
    assert str(tmp_path) not in problem
    tensors = load_file(folder / "model.safetensors")
    del tensors["text_projection.weight"]
    save_file(tensors, damaged(folder, tmp_path) / "model.safetensors")
    assert (text_problem(found) or "").startswith("model.safetensors: 1 weights are missing")


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
