"""The demo's stand-in CLIP: the real architecture at a small size, in Hugging Face's format, never trained.

Its first layer is set by hand to what trained towers are known to begin with, spots of colour and Gabor
filters, so that its features at least look different; all else is random. It says so in `scopeview.json`.
"""

import json
import math
from pathlib import Path

import torch
from safetensors.torch import save_file
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from torch import Tensor
from transformers import CLIPConfig, CLIPModel, CLIPTextConfig, CLIPVisionConfig

from indexer.training.clip_config import IMAGE_PX, PATCH_PX
from indexer.training.clip_model import preprocessor_config
from indexer.world.backgrounds import background_kinds
from indexer.world.palette import COLOURS, TINTS
from indexer.world.things import kinds
from scopeview.recipe import RANDOM_WEIGHTS_NOTE

WIDTH, N_LAYERS, N_HEADS, PROJECTION_DIM = 128, 6, 4, 64
_TEXT_TOKENS = 32
_SPECIAL = {"bos_token": "<start>", "eos_token": "<end>", "unk_token": "<unknown>", "pad_token": "<pad>"}
_SMALL_WORDS = [
    "a",
    "an",
    "and",
    "at",
    "above",
    "below",
    "in",
    "left",
    "of",
    "on",
    "over",
    "picture",
    "right",
    "to",
]


def write_clip(folder: Path, seed: int) -> None:
    """A complete `CLIPModel` folder. The same seed gives the same weights."""
    folder.mkdir(parents=True, exist_ok=True)
    words = [*_SPECIAL.values(), *_SMALL_WORDS, *COLOURS, *TINTS, *kinds(), *background_kinds()]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = CLIPModel(_config(len(words)))
        _initialise(model)
    model.config.architectures = ["CLIPModel"]
    model.config.save_pretrained(folder)
    save_file(model.state_dict(), folder / "model.safetensors", metadata={"format": "pt"})
    _write_json(folder / "preprocessor_config.json", preprocessor_config())
    _write_tokenizer(folder, words)
    _write_json(folder / RANDOM_WEIGHTS_NOTE, {"random_weights": True})


def _config(n_words: int) -> CLIPConfig:
    vision = CLIPVisionConfig(
        image_size=IMAGE_PX,
        patch_size=PATCH_PX,
        hidden_size=WIDTH,
        intermediate_size=4 * WIDTH,
        num_hidden_layers=N_LAYERS,
        num_attention_heads=N_HEADS,
        hidden_act="quick_gelu",
        projection_dim=PROJECTION_DIM,
    )
    text = CLIPTextConfig(
        vocab_size=n_words,
        hidden_size=WIDTH,
        intermediate_size=4 * WIDTH,
        num_hidden_layers=2,
        num_attention_heads=N_HEADS,
        max_position_embeddings=_TEXT_TOKENS,
        bos_token_id=0,
        eos_token_id=1,
        pad_token_id=3,
        hidden_act="quick_gelu",
        projection_dim=PROJECTION_DIM,
    )
    return CLIPConfig(
        text_config=text.to_dict(), vision_config=vision.to_dict(), projection_dim=PROJECTION_DIM
    )


def _initialise(model: CLIPModel) -> None:
    """Wider than CLIP's own initialiser, under which every picture looks the same to an untrained model."""
    for name, parameter in model.named_parameters():
        if parameter.ndim < 2:
            continue
        gain = 2.0 if ".q_proj." in name or ".k_proj." in name else 0.9
        torch.nn.init.normal_(parameter, std=gain * parameter[0].numel() ** -0.5)
    embeddings = model.vision_model.embeddings
    with torch.no_grad():
        embeddings.patch_embedding.weight.copy_(_first_filters())
        embeddings.position_embedding.weight.mul_(1.5)


def _first_filters() -> Tensor:
    """[WIDTH, 3, PATCH_PX, PATCH_PX]: a third spots of colour, the rest Gabor filters in random colours."""
    n_spots = WIDTH // 3
    position = torch.arange(PATCH_PX) - (PATCH_PX - 1) / 2
    y, x = torch.meshgrid(position, position, indexing="ij")
    angle, phase = (torch.rand(WIDTH, 1, 1) * math.tau for _ in range(2))
    cycles = (0.5 + 1.5 * torch.rand(WIDTH, 1, 1)) / PATCH_PX
    waves = torch.cos(math.tau * cycles * (x * angle.cos() + y * angle.sin()) + phase)
    waves[:n_spots] = 1
    patterns = waves * torch.exp(-(x**2 + y**2) / PATCH_PX**2 * 2)
    colours = torch.nn.functional.normalize(torch.randn(WIDTH, 3), dim=1)
    return 0.3 * torch.einsum(
        "fc,fhw->fchw", colours, patterns / patterns.flatten(1).norm(dim=1)[:, None, None]
    )


def _write_tokenizer(folder: Path, words: list[str]) -> None:
    """One token a word; unknown words share one."""
    vocabulary = {word: number for number, word in enumerate(words)}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token=_SPECIAL["unk_token"]))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    start, end = _SPECIAL["bos_token"], _SPECIAL["eos_token"]
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{start} $A {end}", special_tokens=[(start, 0), (end, 1)]
    )
    tokenizer.save(str(folder / "tokenizer.json"))
    settings = {"tokenizer_class": "PreTrainedTokenizerFast", "model_max_length": _TEXT_TOKENS, **_SPECIAL}
    _write_json(folder / "tokenizer_config.json", settings)


def _write_json(path: Path, content: dict[str, object]) -> None:
    path.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
