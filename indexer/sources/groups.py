"""Groups members of a tar into samples by webdataset's rule: adjacent files, equal up to the first dot.

Reads no bytes and knows no metadata.
"""

import re
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from indexer.sources.keys import unsafe_because
from indexer.sources.sample import IMAGE_SUFFIXES
from indexer.sources.tar import Cut, Member

_KINDS = ("jpg", "jpeg", "png", "webp", "gif")
_IMAGES = ("image", "img", "input", "rgb")
_TEXTS = ("txt", "caption.txt", "text.txt", "outputs.txt", "output.txt")
# Directories, then the key, then everything from the first dot of the file's own name.
_NAME = re.compile(r"((?:.*/)?[^./][^./]*)\.([^/]*)", re.DOTALL)


class SampleFiles(NamedTuple):
    """The files of one sample, by what follows the first dot, in the tar's order (one may come twice)."""

    key: str
    files: list[tuple[str, Member]]

    @property
    def suffixes(self) -> set[str]:
        return {suffix for suffix, _ in self.files}

    def first(self, suffix: str) -> Member | None:
        """The first plain file with this suffix."""
        return next((member for name, member in self.files if name == suffix and member.is_plain), None)

    def images(self, key: str | None = None) -> list[tuple[str, Member]]:
        """Returns the image and then all others, with their suffixes.

        `KEY.jpg` comes before `KEY.mask.png`. Plain suffixes come in the order jpg, jpeg, png, webp, gif; the
        others `image`, `img`, `input`, `rgb` first, then by name. With a `key`, returns only those that it
        names.
        """
        found = [(name, member) for name, member in self.files if _last(name) in IMAGE_SUFFIXES]
        if key is not None:
            found = [one for one in found if key.lower() in (one[0], one[0].rpartition(".")[0])]
        return [one for one in sorted(found, key=lambda one: _image_rank(one[0])) if one[1].is_plain]

    def text_suffix(self, key: str | None = None) -> str | None:
        """The caption's suffix: `key` if it exists, or else the first of `txt`, `caption.txt`, `text.txt`,
        `outputs.txt` that does, or else the first by name; None if there is none."""
        if key is not None and key.lower() in self.suffixes:
            return key.lower()
        texts = [name for name in self.suffixes if _last(name) == "txt"]
        return min(texts, key=lambda name: (_place(name, _TEXTS), name), default=None)


def _image_rank(suffix: str) -> tuple[bool, int, str]:
    stem, _, kind = suffix.rpartition(".")
    return bool(stem), _place(stem, _IMAGES) if stem else _place(kind, _KINDS), suffix


def _place(name: str, names: tuple[str, ...]) -> int:
    return names.index(name) if name in names else len(names)


def group_members(members: Iterable[Member | Cut]) -> Iterator[SampleFiles | Cut]:
    """Yields groups in order. For a cut tar, the last two are the group that may be cut, and a `Cut`."""
    group: SampleFiles | None = None
    for member in members:
        if isinstance(member, Cut):
            if group:
                yield group
            yield member
            return
        key, suffix = _split(member.name)
        if suffix is None and unsafe_because(key) is None:
            continue  # a README, a hidden file: no sample, as webdataset has it
        if group is None or group.key != key:
            if group:
                yield group
            group = SampleFiles(key, [])
        group.files.append((suffix or "", member))
    if group:
        yield group


def _split(name: str) -> tuple[str, str | None]:
    """Splits `a/b.seg.png` into (`a/b`, `seg.png`); without a suffix returns the whole name and None."""
    while name.startswith("./"):  # what `tar -c .` writes
        name = name[2:]
    match = _NAME.fullmatch(name)
    return (match[1], match[2].lower()) if match else (name, None)


def _last(suffix: str) -> str:
    return suffix.rpartition(".")[2]
