"""Tiny random models on disk, in the layout of their repositories on Hugging Face: CLIPs and other families.

They know nothing of what they see: for tests of plumbing, shapes and exactness.
"""

import json
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import (
    AutoConfig,
    AutoModel,
    CLIPConfig,
    CLIPModel,
    CLIPTextConfig,
    CLIPVisionConfig,
    DeiTForImageClassificationWithTeacher,
    ViTForImageClassification,
    ViTMAEForPreTraining,
)

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


IMAGE_PX = 112
_EXACT = {"height": IMAGE_PX, "width": IMAGE_PX}
_LARGER = {"height": 128, "width": 128}
_PROCESSORS: dict[str, dict[str, Any]] = {
    "vit": {"image_processor_type": "ViTImageProcessor", "size": _EXACT},
    "vit_mae": {"image_processor_type": "ViTImageProcessor", "size": _EXACT},
    "deit": {"image_processor_type": "DeiTImageProcessor", "size": _LARGER, "crop_size": _EXACT},
    "dinov2": {
        "image_processor_type": "BitImageProcessor",
        "size": {"shortest_edge": 128},
        "crop_size": _EXACT,
        "image_mean": [0.485, 0.456, 0.406],
        "image_std": [0.229, 0.224, 0.225],
    },
    "dinov3_vit": {"image_processor_type": "DINOv3ViTImageProcessorFast", "size": _EXACT},
}
_PROCESSORS["dinov2_with_registers"] = _PROCESSORS["dinov2"]
# As the repositories of these families hold them: with what the vision tower has no use for.
_WITH_HEADS: dict[str, Any] = {
    "vit": ViTForImageClassification,
    "vit_mae": ViTMAEForPreTraining,
    "deit": DeiTForImageClassificationWithTeacher,
}
OTHER_FAMILIES = tuple(_PROCESSORS)
"""Each `model_type` but CLIP's that Scopeview opens."""


def save_random_vit(
    folder: Path, model_type: str, *, width: int = 64, n_layers: int = 4, seed: int = 0
) -> Path:
    """Writes a model of this family into `folder`: 8 x 8 patches of DINOv2 on 112 px, else 7 x 7.

    As DINOv2's own, its config says 518 px, and its preprocessing the size that is used.
    """
    settings: dict[str, Any] = {
        "hidden_size": width,
        "num_hidden_layers": n_layers,
        "num_attention_heads": 4,
        "intermediate_size": 2 * width,
        "image_size": 518 if model_type == "dinov2" else IMAGE_PX,
        "patch_size": 14 if model_type.startswith("dinov2") else 16,
    }
    if model_type in ("dinov2_with_registers", "dinov3_vit"):
        settings["num_register_tokens"] = 4
    if model_type == "vit_mae":
        settings |= {f"decoder_{name}": settings[name] for name in ("hidden_size", "intermediate_size")}
        settings |= {"decoder_num_hidden_layers": 1, "decoder_num_attention_heads": 4}
    config = AutoConfig.for_model(model_type, **settings)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        head = _WITH_HEADS.get(model_type)
        model: Any = AutoModel.from_config(config) if head is None else head(config)  # type: ignore[no-untyped-call]
        _spread(model)
        for name, parameter in model.named_parameters():
            if "layer_scale" in name:
                torch.nn.init.uniform_(parameter, 0.5, 1.5)
    model.save_pretrained(folder)
    (folder / "preprocessor_config.json").write_text(json.dumps(_PROCESSORS[model_type]))
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


def _spread(model: torch.nn.Module) -> None:
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
