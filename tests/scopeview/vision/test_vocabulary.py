"""Words to name features after: a file of the user's, or the general ones."""

from pathlib import Path

import pytest

from scopeview.errors import InputError
from scopeview.vision.vocabulary import GENERAL, read_vocabulary


def test_comments_and_empty_lines_do_not_count_and_each_word_counts_once(tmp_path: Path) -> None:
    path = tmp_path / "words.txt"
    path.write_text("# things\n\n  red   fox \ncat\n\t# more\nred fox\nchien à poil\n", encoding="utf-8")
    found = read_vocabulary(path)
    assert (found.name, found.words) == ("words.txt", ("red fox", "cat", "chien à poil"))


@pytest.mark.parametrize("content", [b"", b"# none\n", b"\xff\xfe"])
def test_a_file_without_words_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "words.txt").write_bytes(content)
    with pytest.raises(InputError, match=r"words\.txt .* one word or phrase a line"):
        read_vocabulary(tmp_path / "words.txt")


@pytest.mark.parametrize("n_chars", [201, 100_000])
def test_an_overlong_word_is_refused_by_name(tmp_path: Path, n_chars: int) -> None:
    (tmp_path / "words.txt").write_text("cat\n" + "x" * n_chars)
    with pytest.raises(
        InputError, match=rf"line of {n_chars:,} characters, 'x+'\.\.\.; expected .* at most 200"
    ):
        read_vocabulary(tmp_path / "words.txt")
    (tmp_path / "words.txt").write_text("cat\n" + "x" * 200)
    assert len(read_vocabulary(tmp_path / "words.txt").words) == 2


def test_a_byte_order_mark_is_no_part_of_the_first_word(tmp_path: Path) -> None:
    (tmp_path / "words.txt").write_text("cat\ndog", encoding="utf-8-sig")
    assert read_vocabulary(tmp_path / "words.txt").words == ("cat", "dog")


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"gone\.txt cannot be read"):
        read_vocabulary(tmp_path / "gone.txt")


def test_the_general_words_are_many_and_short() -> None:
    found = read_vocabulary()
    assert found.name == GENERAL.name
    assert len(found.words) > 2500
    assert all(len(word) < 40 and word == word.strip() for word in found.words)
