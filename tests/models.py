"""Tiny random CLIPs on disk, in the layout of a Hugging Face `CLIPModel` repository.

They know nothing of what they see: for tests of plumbing, shapes and exactness.
"""

import json
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import CLIPConfig, CLIPModel, CLIPTextConfig, CLIPVisionConfig

WORDS = [
    "<|startoftext|>",
    "<|endoftext|>",
    "a",
    "photo",
    "of",
    "red",
    "blue",
    "circle",
    "square",
    "dog",
    "cat",
]


def save_random_clip(
    folder: Path,
    *,
    image_px: int = 128,
    patch_px: int = 8,
    width: int = 64,
    n_layers: int = 4,
    n_heads: int = 4,
    projection_dim: int = 32,
    seed: int = 0,
) -> Path:
    """Write config, safetensors, preprocessing and tokenizer into `folder` (made if absent) and return it.

    The same arguments give the same weights. The defaults have 16 x 16 + 1 = 257 tokens, as ViT-L/14 has.
    """
    config = _config(image_px, patch_px, width, n_layers, n_heads, projection_dim)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = CLIPModel(config)
        _spread(model)
    folder.mkdir(parents=True, exist_ok=True)
    model.save_pretrained(folder)
    (folder / "preprocessor_config.json").write_text(json.dumps(preprocessor_config(image_px), indent=2))
    _save_tokenizer(folder)
    return folder


def preprocessor_config(image_px: int = 128) -> dict[str, Any]:
    """What the repositories of CLIP models hold in `preprocessor_config.json`."""
    return {
        "crop_size": image_px,
        "do_center_crop": True,
        "do_normalize": True,
        "do_resize": True,
        "feature_extractor_type": "CLIPFeatureExtractor",
        "image_mean": [0.48145466, 0.4578275, 0.40821073],
        "image_std": [0.26862954, 0.26130258, 0.27577711],
        "resample": 3,
        "size": image_px,
    }


def _config(
    image_px: int, patch_px: int, width: int, n_layers: int, n_heads: int, projection_dim: int
) -> CLIPConfig:
    vision = CLIPVisionConfig(
        image_size=image_px,
        patch_size=patch_px,
        hidden_size=width,
        intermediate_size=2 * width,
        num_hidden_layers=n_layers,
        num_attention_heads=n_heads,
        projection_dim=projection_dim,
        hidden_act="gelu",
    )
    text = CLIPTextConfig(
        vocab_size=len(WORDS),
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=1,
        num_attention_heads=2,
        projection_dim=projection_dim,
        max_position_embeddings=16,
        bos_token_id=0,
        eos_token_id=1,
        pad_token_id=1,
    )
    return CLIPConfig(
        text_config=text.to_dict(), vision_config=vision.to_dict(), projection_dim=projection_dim
    )


def _spread(model: CLIPModel) -> None:
    """Larger weights than CLIP's initialiser gives, so that different images look different to the model."""
    for parameter in model.parameters():
        if parameter.ndim >= 2:
            torch.nn.init.normal_(parameter, std=1.2 * parameter[0].numel() ** -0.5)


def _save_tokenizer(folder: Path) -> None:
    tokenizer = Tokenizer(models.WordLevel({word: i for i, word in enumerate(WORDS)}, unk_token=WORDS[1]))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{WORDS[0]} $A {WORDS[1]}", special_tokens=[(WORDS[0], 0), (WORDS[1], 1)]
    )
    tokenizer.save(str(folder / "tokenizer.json"))
    special = {"bos_token": WORDS[0], "eos_token": WORDS[1], "pad_token": WORDS[1], "unk_token": WORDS[1]}
    settings = {"tokenizer_class": "PreTrainedTokenizerFast", "model_max_length": 16, **special}
    (folder / "tokenizer_config.json").write_text(json.dumps(settings, indent=2))
