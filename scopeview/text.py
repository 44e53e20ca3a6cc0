"""CLIP's text tower: words become vectors in the space of the image embeddings.

Loads folders of Hugging Face's `CLIPModel` with a tokenizer. Knows nothing of images or features. A model may
come without either: `text_problem` says so before anything is loaded.
"""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float32
from torch import Tensor
from torch.nn.functional import normalize
from transformers import AutoTokenizer, CLIPTextModelWithProjection

from scopeview import hub, weights
from scopeview.clip import CONFIG_PATTERNS, check_device
from scopeview.clip_info import MODEL_CONFIG_NAME, read_text_config
from scopeview.errors import NoTextError
from scopeview.hub import Resolved

TOKENIZER_PATTERNS = (
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "vocab.json",
    "merges.txt",
)
_TOKENIZERS = (("tokenizer.json",), ("vocab.json", "merges.txt"))
_TOWER = ("text_model.", "text_projection.")
# Not a weight: counts the positions. Older checkpoints hold it, newer ones do not.
_POSITION_IDS = "text_model.embeddings.position_ids"
_BATCH_SIZE = 256


def text_folder(model: Resolved) -> Path:
    """The model's folder together with its tokenizer, fetched first if it is from the hub: a few megabytes.

    Raises as `hub.resolve`.
    """
    if model.repo_id is None:
        return model.path
    pinned = f"{model.repo_id}@{model.revision}"
    return hub.resolve(pinned, patterns=(*CONFIG_PATTERNS, *TOKENIZER_PATTERNS)).path


def text_problem(folder: Path) -> str | None:
    """Why this folder cannot embed text; None where it can. Raises `ModelError` for unreadable weights."""
    if not any(all((folder / name).is_file() for name in names) for names in _TOKENIZERS):
        return "the model's folder has no tokenizer"
    if not any(name.startswith(_TOWER[0]) for name in weights.tensor_names(folder)):
        return "the model has no text tower"
    return None


class TextEncoder:
    """A text tower on its device, with its tokenizer. Keeps no state, so threads may share one."""

    def __init__(self, model: CLIPTextModelWithProjection, tokenizer: Any) -> None:
        self._model: Any = model
        self._tokenizer = tokenizer
        self._n_tokens: int = self._model.config.max_position_embeddings

    @classmethod
    def load(cls, folder: Path, *, device: str | torch.device = "cpu") -> "TextEncoder":
        """In float32. Raises `NoTextError` for a folder that has no text tower or no tokenizer."""
        checked = check_device(str(device))
        if problem := text_problem(folder):
            raise NoTextError(f"{folder}: {problem}, so no text can be embedded")
        try:
            tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
        except (OSError, ValueError, KeyError) as error:
            raise NoTextError(f"{folder} has no tokenizer that can be used: {error}") from error
        return cls(_load_tower(folder, checked), tokenizer)

    def unknown_words(self, text: str) -> list[str]:
        """Those of its words, each once, that the tokenizer maps to nothing but its token for the unknown.

        All of them get one and the same vector, which says nothing about them.
        """
        words = list(dict.fromkeys(text.split()))
        ids: list[list[int]] = self._tokenizer(words, add_special_tokens=False)["input_ids"] if words else []
        unknown = {self._tokenizer.unk_token_id}
        return [word for word, found in zip(words, ids, strict=True) if unknown.issuperset(found)]

    @torch.inference_mode()
    def embed(self, texts: Sequence[str]) -> Float32[np.ndarray, "text projection"]:
        """Of unit length. What is longer than the model reads is cut."""
        found = [self._embed(texts[i : i + _BATCH_SIZE]) for i in range(0, len(texts), _BATCH_SIZE)]
        empty = np.empty((0, self._model.config.projection_dim), dtype=np.float32)
        return np.concatenate([empty, *(vectors.cpu().numpy() for vectors in found)])

    def _embed(self, texts: Sequence[str]) -> Tensor:
        tokens = self._tokenizer(
            list(texts), padding=True, truncation=True, max_length=self._n_tokens, return_tensors="pt"
        )
        ids, mask = (tokens[name].to(self._model.device) for name in ("input_ids", "attention_mask"))
        return normalize(self._model(ids, mask).text_embeds.float(), dim=1)


def _load_tower(folder: Path, device: torch.device) -> CLIPTextModelWithProjection:
    """Laid out without memory, then given the file's tensors: no weight can silently stay at random."""
    config = read_text_config(folder / MODEL_CONFIG_NAME)
    with torch.device("meta"):
        model: Any = CLIPTextModelWithProjection._from_config(config, attn_implementation="sdpa")  # type: ignore[no-untyped-call]
    tensors = {name: tensor.float() for name, tensor in weights.read_tensors(folder, _TOWER).items()}
    tensors.pop(_POSITION_IDS, None)
    weights.check_tensors(folder, model.state_dict(), tensors)
    model.load_state_dict(tensors, assign=True)
    embeddings = model.text_model.embeddings
    embeddings.position_ids = torch.arange(math.prod(embeddings.position_ids.shape))[None]
    tower: CLIPTextModelWithProjection = model.eval().requires_grad_(False).to(device)
    return tower
