"""CLIP's text encoder: turns words into vectors in the space of the image embeddings.

Loads folders of Hugging Face's `CLIPModel` with a tokenizer. Knows nothing of images or features. A model may
lack either, or have ones that do not fit together: `text_problem` finds that before any work.
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

from scopeview import hub
from scopeview.errors import ModelError, NoTextError
from scopeview.hub import Resolved
from scopeview.vision import weights
from scopeview.vision.clip import CONFIG_PATTERNS, check_device
from scopeview.vision.clip_info import MODEL_CONFIG_NAME, read_text_config

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
_UNKNOWN_WORDS = ("zqxjkv", "\u7ea2\u8272", "\U0001f600", "")


def text_folder(model: Resolved) -> Path:
    """The model's folder with its tokenizer, first fetched if it is from the hub: a few megabytes.

    Raises as `hub.resolve` does.
    """
    if model.repo_id is None:
        return model.path
    pinned = f"{model.repo_id}@{model.revision}"
    return hub.resolve(pinned, patterns=(*CONFIG_PATTERNS, *TOKENIZER_PATTERNS)).path


def text_problem(folder: Path, words: Sequence[str] = ()) -> str | None:
    """Loads and tries the encoder; returns why it cannot embed text such as `words`, None if it can."""
    try:
        TextEncoder.load(folder).check(words)
    except ModelError as error:
        # It is published with an index, and a machine's folders are not.
        return str(error).removeprefix(f"{folder}: ").replace(f"{folder}/", "")
    return None


class TextEncoder:
    """A text encoder on its device, with its tokenizer. Keeps no state, so threads may share one."""

    def __init__(self, model: CLIPTextModelWithProjection, tokenizer: Any) -> None:
        self._model: Any = model
        self._tokenizer = tokenizer
        self._n_tokens: int = self._model.config.max_position_embeddings

    @classmethod
    def load(cls, folder: Path, *, device: str | torch.device = "cpu") -> "TextEncoder":
        """Loads it in float32. Raises `NoTextError` if encoder or tokenizer is missing or does not fit."""
        checked = check_device(str(device))
        read_text_config(folder / MODEL_CONFIG_NAME)  # a family without text is said before files it lacks
        _check_files(folder)
        tokenizer = _load_tokenizer(folder)
        model = _load_tower(folder, checked)
        _check_ids(folder, tokenizer, model.config)
        encoder = cls(model, tokenizer)
        encoder.check(())
        return encoder

    def check(self, words: Sequence[str]) -> None:
        """Raises `NoTextError` if these words, or words that no model knows, cannot be embedded."""
        try:
            self._tokenizer([*_UNKNOWN_WORDS, *words])
        except Exception as error:  # tokenizers raise nothing narrower
            raise NoTextError(f"the tokenizer cannot take words that it does not know: {error}") from error
        vectors = self.embed(_two_words(self._tokenizer))
        if not np.isfinite(vectors).all():
            raise NoTextError("the text encoder gives numbers that are not finite")
        if np.array_equal(vectors[0], vectors[-1]):
            raise NoTextError(
                "the text encoder gives one embedding for all texts: the config's eos_token_id is "
                f"{self._model.config.eos_token_id}, which may not be what the tokenizer ends texts with"
            )

    def unknown_words(self, text: str) -> list[str]:
        """The distinct words of the text that the tokenizer maps only to its token for unknown words.

        All unknown words get the same vector, which says nothing about them.
        """
        words = list(dict.fromkeys(text.split()))
        ids: list[list[int]] = self._tokenizer(words, add_special_tokens=False)["input_ids"] if words else []
        unknown = {self._tokenizer.unk_token_id}
        return [word for word, found in zip(words, ids, strict=True) if unknown.issuperset(found)]

    @torch.inference_mode()
    def embed(self, texts: Sequence[str]) -> Float32[np.ndarray, "text projection"]:
        """The texts' embeddings of unit length. Texts longer than the model reads are truncated."""
        found = [self._embed(texts[i : i + _BATCH_SIZE]) for i in range(0, len(texts), _BATCH_SIZE)]
        empty = np.empty((0, self._model.config.projection_dim), dtype=np.float32)
        return np.concatenate([empty, *(vectors.cpu().numpy() for vectors in found)])

    def _embed(self, texts: Sequence[str]) -> Tensor:
        tokens = self._tokenizer(
            list(texts), padding=True, truncation=True, max_length=self._n_tokens, return_tensors="pt"
        )
        ids, mask = (tokens[name].to(self._model.device) for name in ("input_ids", "attention_mask"))
        return normalize(self._model(ids, mask).text_embeds.float(), dim=1)


def _check_files(folder: Path) -> None:
    """Raises `NoTextError` if the folder has no tokenizer or no text encoder; loads nothing."""
    if not any(all((folder / name).is_file() for name in names) for names in _TOKENIZERS):
        raise NoTextError(f"{folder}: the model's folder has no tokenizer")
    if not any(name.startswith(_TOWER[0]) for name in weights.tensor_names(folder)):
        raise NoTextError(f"{folder}: the model has no text encoder")


def _load_tokenizer(folder: Path) -> Any:
    try:
        tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    except Exception as error:  # on malformed files tokenizers raise nothing narrower
        reason = next(iter(str(error).splitlines()), type(error).__name__)
        raise NoTextError(f"{folder}: the model has no tokenizer that can be used: {reason}") from error
    if tokenizer.pad_token is None:
        # What a text is padded with is masked, and so does not change its embedding.
        tokenizer.pad_token = tokenizer.eos_token
    if tokenizer.pad_token is None:
        raise NoTextError(f"{folder}: the tokenizer has neither a padding token nor one that ends texts")
    return tokenizer


def _check_ids(folder: Path, tokenizer: Any, config: Any) -> None:
    """Raises `NoTextError` for a tokenizer of another model."""
    highest = max(tokenizer.get_vocab().values(), default=-1)
    if highest < 0:
        raise NoTextError(f"{folder}: the tokenizer knows no words")
    if highest >= config.vocab_size:
        raise NoTextError(
            f"{folder}: the tokenizer has ids up to {highest:,}, but the text encoder has"
            f" {config.vocab_size:,} of them: it is another model's"
        )


def _two_words(tokenizer: Any) -> list[str]:
    """The first and the last word that are no special tokens; the same word if there is only one."""
    special = set(tokenizer.all_special_ids)
    ids = sorted(number for number in tokenizer.get_vocab().values() if number not in special)
    return [tokenizer.decode([number]) for number in (ids[0], ids[-1])] if ids else ["a", "b"]


def _load_tower(folder: Path, device: torch.device) -> CLIPTextModelWithProjection:
    """Builds the model on `meta`, then assigns the file's tensors, so that no weight stays random."""
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
