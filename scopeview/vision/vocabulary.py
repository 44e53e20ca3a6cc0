"""The words that features can be named after: a text file, one word or phrase per line."""

from dataclasses import dataclass
from pathlib import Path

from scopeview.errors import InputError
from scopeview.store.files import file_sha256

GENERAL = Path(__file__).with_name("vocabulary.txt")
"""The default vocabulary: about 2,700 words for images from the web."""

MAX_WORD_CHARS = 200
"""A name fits on a line, CLIP reads some 300 characters, and a feature's names fit into 64 KB."""


@dataclass(frozen=True)
class Vocabulary:
    """The distinct words in the order of the file."""

    name: str  # of the file
    sha256: str  # of the file
    words: tuple[str, ...]


def read_vocabulary(path: Path | None = None) -> Vocabulary:
    """Reads the file's words, by default the general ones; skips empty lines and those that begin with #.

    Raises `InputError` for a file that cannot be read, has no word, or has one longer than `MAX_WORD_CHARS`.
    """
    found = path or GENERAL
    try:
        lines = found.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(
            f"vocabulary {found} cannot be read ({error}); expected UTF-8 text, one word or phrase a line"
        ) from error
    words = [" ".join(line.split()) for line in lines if not line.lstrip().startswith("#")]
    distinct = tuple(dict.fromkeys(filter(None, words)))
    if not distinct:
        raise InputError(f"vocabulary {found} holds no words; expected one word or phrase a line")
    longest = max(distinct, key=len)
    if len(longest) > MAX_WORD_CHARS:
        raise InputError(
            f"vocabulary {found} holds a line of {len(longest):,} characters, {longest[:40]!r}...; expected "
            f"one word or phrase a line, of at most {MAX_WORD_CHARS} characters"
        )
    return Vocabulary(found.name, file_sha256(found), distinct)
