"""A random CLIP and random CLIP-Scope SAEs on disk, for the authors' code and ours to read alike.

`SMALL` is quick; `FULL` has the configuration of laion/CLIP-ViT-L-14-laion2B-s32B-b82K, and 65,536 features.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from tokenizers.pre_tokenizers import ByteLevel
from transformers import CLIPConfig, CLIPModel

from tests.models import preprocessor_config
from tests.saes import save_random_clipscope

TEXT = {"hidden_act": "gelu", "bos_token_id": 512, "eos_token_id": 513, "pad_token_id": 513}


@dataclass(frozen=True)
class Setup:
    """Sizes of the model and its SAEs; images are run `batch_size` at a time, on both sides."""

    vision: dict[str, Any]
    text: dict[str, Any]
    projection_dim: int
    layers: tuple[int, ...]
    n_features: int
    n_images: int | None
    batch_size: int
    k: int = 32


SMALL = Setup(
    vision={"image_size": 128, "patch_size": 8, "hidden_size": 192, "intermediate_size": 768}
    | {"num_hidden_layers": 4, "num_attention_heads": 3},
    text={"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 1, "num_attention_heads": 2},
    projection_dim=64,
    layers=(1, 3),
    n_features=4096,
    n_images=None,
    batch_size=10,
)
FULL = Setup(
    vision={"image_size": 224, "patch_size": 14, "hidden_size": 1024, "intermediate_size": 4096}
    | {"num_hidden_layers": 24, "num_attention_heads": 16},
    text={"hidden_size": 768, "intermediate_size": 3072, "num_hidden_layers": 12, "num_attention_heads": 12},
    projection_dim=768,
    layers=(11, 22),
    n_features=65_536,
    n_images=8,
    batch_size=4,
)


def write_model(folder: Path, setup: Setup) -> Path:
    """Weights, config, preprocessing and a tokenizer that transformers 4's `CLIPProcessor` can load."""
    config = CLIPConfig(
        vision_config=setup.vision | {"hidden_act": "gelu", "projection_dim": setup.projection_dim},
        text_config=setup.text | TEXT | {"projection_dim": setup.projection_dim},
        projection_dim=setup.projection_dim,
    )
    torch.manual_seed(0)
    model = CLIPModel(config)
    for parameter in model.parameters():
        if parameter.ndim >= 2:  # CLIP's own initialiser makes all images look alike
            torch.nn.init.normal_(parameter, std=parameter[0].numel() ** -0.5)
    model.save_pretrained(folder)
    preprocessing = preprocessor_config(setup.vision["image_size"])
    (folder / "preprocessor_config.json").write_text(json.dumps(preprocessing))
    _write_tokenizer(folder)
    return folder


def write_saes(folder: Path, setup: Setup) -> Path:
    for layer in setup.layers:
        sizes = {"d_in": setup.vision["hidden_size"], "n_features": setup.n_features, "k": setup.k}
        save_random_clipscope(folder, layer=layer, seed=layer, **sizes)
    return folder


def _write_tokenizer(folder: Path) -> None:
    """Every byte, inside a word and at its end, and CLIP's two special tokens: enough for the empty text."""
    letters = sorted(ByteLevel.alphabet())
    words = [*letters, *(f"{letter}</w>" for letter in letters), "<|startoftext|>", "<|endoftext|>"]
    (folder / "vocab.json").write_text(json.dumps({word: i for i, word in enumerate(words)}))
    (folder / "merges.txt").write_text("#version: 0.2\n")
    settings = {"tokenizer_class": "CLIPTokenizer", "model_max_length": 77}
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))
