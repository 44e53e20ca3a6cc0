"""The small CLIP's tokenizer: one token per word, in the format of `tokenizers`. Knows words, no images."""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Int64
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors

from indexer.training.clip_config import TEXT_TOKENS
from indexer.world.captions import vocabulary

START, END, UNKNOWN, PAD = "<start>", "<end>", "<unknown>", "<pad>"
SPECIAL = {START: 0, END: 1, UNKNOWN: 2, PAD: 3}


def make_tokenizer() -> Tokenizer:
    """A tokenizer with every word of the world; unknown words share one token. Case is ignored."""
    words = [*SPECIAL, *vocabulary()]
    tokenizer = Tokenizer(models.WordLevel({word: n for n, word in enumerate(words)}, unk_token=UNKNOWN))
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.add_special_tokens(list(SPECIAL))
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{START} $A {END}", special_tokens=[(START, SPECIAL[START]), (END, SPECIAL[END])]
    )
    tokenizer.enable_truncation(TEXT_TOKENS)
    return tokenizer


def encode(tokenizer: Tokenizer, texts: Sequence[str]) -> Int64[np.ndarray, "text token"]:
    """Token ids, padded at the end to the longest text; a causal text encoder never reads the padding."""
    found = [encoding.ids for encoding in tokenizer.encode_batch(list(texts))]
    words = np.full((len(found), max(map(len, found))), SPECIAL[PAD], dtype=np.int64)
    for row, ids in zip(words, found, strict=True):
        row[: len(ids)] = ids
    return words


def save_tokenizer(folder: Path) -> None:
    """Saves the tokenizer in the format that `AutoTokenizer` loads."""
    make_tokenizer().save(str(folder / "tokenizer.json"))
    settings = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "model_max_length": TEXT_TOKENS,
        "bos_token": START,
        "eos_token": END,
        "unk_token": UNKNOWN,
        "pad_token": PAD,
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(settings, indent=2) + "\n", encoding="utf-8")
