from pathlib import Path

import pytest
from transformers import PreTrainedTokenizerFast

from indexer.training.clip_config import TEXT_TOKENS
from indexer.training.clip_tokenizer import (
    END,
    PAD,
    SPECIAL,
    START,
    UNKNOWN,
    encode,
    make_tokenizer,
    save_tokenizer,
)
from indexer.world import make_scene


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> PreTrainedTokenizerFast:
    folder: Path = tmp_path_factory.mktemp("words")
    save_tokenizer(folder)
    loaded: PreTrainedTokenizerFast = PreTrainedTokenizerFast.from_pretrained(folder)
    return loaded


def test_captions_survive_being_tokens(saved: PreTrainedTokenizerFast) -> None:
    for number in range(100):
        caption = make_scene(0, number).caption
        ids = saved(caption)["input_ids"]
        spaced = caption.replace(",", " ,").replace(":", " :")
        assert saved.decode(ids, skip_special_tokens=True, clean_up_tokenization_spaces=False) == spaced
        assert SPECIAL[UNKNOWN] not in ids
        assert len(ids) <= TEXT_TOKENS


def test_training_and_transformers_make_the_same_tokens_of_a_text(saved: PreTrainedTokenizerFast) -> None:
    texts = [make_scene(0, number).caption for number in range(20)] + ["cat"]
    ours = encode(make_tokenizer(), texts)
    assert ours.tolist() == saved(texts, padding=True)["input_ids"]
    assert ours[-1, :3].tolist() == [SPECIAL[START], saved.get_vocab()["cat"], SPECIAL[END]]
    assert set(ours[-1, 3:]) == {SPECIAL[PAD]}


def test_capitals_make_no_difference_unknown_words_share_a_token_and_long_texts_end(
    saved: PreTrainedTokenizerFast,
) -> None:
    assert saved("A Red CAT")["input_ids"] == saved("a red cat")["input_ids"]
    assert saved("zeppelin")["input_ids"] == [SPECIAL[START], SPECIAL[UNKNOWN], SPECIAL[END]]
    long = encode(make_tokenizer(), ["cat " * 500])
    assert long.shape == (1, TEXT_TOKENS)
    assert long[0, -1] == SPECIAL[END]
