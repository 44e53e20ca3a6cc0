"""The small CLIP: a Hugging Face `CLIPModel` of any size, both its encoders in training, and its folder."""

import json
from pathlib import Path
from typing import Any, NamedTuple

import torch
from jaxtyping import Float, Int64, UInt8
from safetensors.torch import save_file
from torch import Tensor
from transformers import CLIPConfig, CLIPModel, CLIPTextConfig, CLIPVisionConfig

from indexer.training.clip_config import IMAGE_PX, PATCH_PX, TEXT_TOKENS, ClipSettings
from indexer.training.clip_init import init_neighbor_attention
from indexer.training.clip_tokenizer import END, PAD, SPECIAL, START, make_tokenizer, save_tokenizer

_MLP_RATIO = 4
_ACTIVATION = "gelu"  # one kernel; CLIP's own `quick_gelu` takes three
_MEAN = _STD = 0.5
_AT_ONCE_ON_CPU = 32  # images: attention of more of them falls out of the cache, at half the speed


def new_clip(settings: ClipSettings) -> CLIPModel:
    """A new model: random weights, except those of `init_neighbor_attention`. Equal for equal seeds."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(settings.seed)
        model = CLIPModel(_config(settings))
        init_neighbor_attention(model)
        return model


class ImageEmbeddings(NamedTuple):
    """The embeddings of images and patches, not normalised."""

    images: Float[Tensor, "batch projection"]
    patches: Float[Tensor, "batch patch projection"]
    residual: Float[Tensor, "batch patch d_model"]
    """The residual stream of the patches after the last block."""


def embed_images(
    model: CLIPModel,
    pixels: UInt8[Tensor, "batch 3 height width"],
    patches: Int64[Tensor, "batch patch"],
) -> ImageEmbeddings:
    """Runs the vision tower on CLS and the pixels; `patches` are their numbers on the whole grid."""
    at_once = _AT_ONCE_ON_CPU if pixels.device.type == "cpu" else len(pixels)
    parts = zip(torch.split(pixels, at_once), torch.split(patches, at_once), strict=True)
    residual = torch.cat([_residual(model, *part) for part in parts])
    tower: Any = model.vision_model
    projected = model.visual_projection(tower.post_layernorm(residual))
    return ImageEmbeddings(projected[:, 0], projected[:, 1:], residual[:, 1:])


def _residual(
    model: CLIPModel,
    pixels: UInt8[Tensor, "batch 3 height width"],
    patches: Int64[Tensor, "batch patch"],
) -> Float[Tensor, "batch token d_model"]:
    """The residual stream of all tokens after the last block."""
    tower: Any = model.vision_model
    embeddings = tower.embeddings
    content = embeddings.patch_embedding((pixels.float() / 255 - _MEAN) / _STD).flatten(2).mT
    first = embeddings.class_embedding + embeddings.position_embedding.weight[0]
    placed = content + embeddings.position_embedding(patches + 1)
    residual: Tensor = tower.pre_layrnorm(torch.cat([first.expand(len(placed), 1, -1), placed], dim=1))
    for block in tower.encoder.layers:
        residual = block(residual, None)
    return residual


def embed_texts(model: CLIPModel, words: Int64[Tensor, "text token"]) -> Float[Tensor, "text projection"]:
    """The embeddings of texts, not normalised."""
    embedding: Tensor = model.text_projection(model.text_model(input_ids=words).pooler_output)
    return embedding


def save_clip(folder: Path, model: CLIPModel) -> None:
    """Writes what `Clip.load`, `CLIPModel.from_pretrained` and `AutoTokenizer` need; the weights last."""
    folder.mkdir(parents=True, exist_ok=True)
    model.config.architectures = ["CLIPModel"]
    model.config.save_pretrained(folder)
    content = json.dumps(preprocessor_config(), indent=2) + "\n"
    (folder / "preprocessor_config.json").write_text(content, encoding="utf-8")
    save_tokenizer(folder)
    tensors = {name: tensor.contiguous().cpu() for name, tensor in model.state_dict().items()}
    temporary = folder / "model.safetensors.tmp"
    save_file(tensors, temporary, metadata={"format": "pt"})
    temporary.replace(folder / "model.safetensors")


def _config(settings: ClipSettings) -> CLIPConfig:
    vision = CLIPVisionConfig(
        image_size=IMAGE_PX,
        patch_size=PATCH_PX,
        hidden_size=settings.width,
        intermediate_size=_MLP_RATIO * settings.width,
        num_hidden_layers=settings.blocks,
        num_attention_heads=settings.heads,
        hidden_act=_ACTIVATION,
        projection_dim=settings.projection,
    )
    text = CLIPTextConfig(
        vocab_size=make_tokenizer().get_vocab_size(),
        hidden_size=settings.text_width,
        intermediate_size=_MLP_RATIO * settings.text_width,
        num_hidden_layers=settings.text_blocks,
        num_attention_heads=settings.text_heads,
        max_position_embeddings=TEXT_TOKENS,
        bos_token_id=SPECIAL[START],
        eos_token_id=SPECIAL[END],
        pad_token_id=SPECIAL[PAD],
        hidden_act=_ACTIVATION,
        projection_dim=settings.projection,
    )
    return CLIPConfig(
        text_config=text.to_dict(),
        vision_config=vision.to_dict(),
        projection_dim=settings.projection,
        logit_scale_init_value=settings.first_logit_scale,
    )


def preprocessor_config() -> dict[str, object]:
    """The content of `preprocessor_config.json`, equal for every CLIP of the procedural world."""
    return {
        "image_processor_type": "CLIPImageProcessor",
        "do_resize": True,
        "size": {"shortest_edge": IMAGE_PX},
        "resample": 3,
        "do_center_crop": True,
        "crop_size": {"height": IMAGE_PX, "width": IMAGE_PX},
        "do_rescale": True,
        "rescale_factor": 1 / 255,
        "do_normalize": True,
        "image_mean": [_MEAN] * 3,
        "image_std": [_STD] * 3,
        "do_convert_rgb": True,
    }
