"""Which keys are safe to show, store and compare, and how an unsafe one is printed.

A key never becomes a file name in an index, but users of the index show it, export it and join it to paths.
So a key that leads out of its folder or hides a control character is refused.
"""

import unicodedata

MAX_KEY_CHARS = 1024

# Control characters, lone surrogates (bytes that were not UTF-8), line and paragraph separators.
_REFUSED_CATEGORIES = frozenset({"Cc", "Cs", "Zl", "Zp"})


def unsafe_because(key: str) -> str | None:
    """Returns why `key` is refused, or None if it is safe."""
    if len(key) > MAX_KEY_CHARS:
        return f"it has {len(key)} characters, at most {MAX_KEY_CHARS} are accepted"
    if key.startswith("/"):
        return "it is an absolute path"
    if "\\" in key:
        return "it holds a backslash"
    if not all(part not in ("", ".", "..") for part in key.split("/")):
        return "it has an empty, '.' or '..' part"
    if any(unicodedata.category(character) in _REFUSED_CATEGORIES for character in key):
        return "it holds a control character or bytes that are not UTF-8"
    return None


def printable(key: str, max_chars: int = 200) -> str:
    """`key`, truncated, with every character escaped that could harm a terminal, a log or a JSON file."""
    escaped = "".join(
        character.encode("unicode_escape").decode("ascii")
        if unicodedata.category(character) in _REFUSED_CATEGORIES
        else character
        for character in key[:max_chars]
    )
    return escaped + ("..." if len(key) > max_chars else "")
