"""Describes a file by its content, for messages about files that are not SAEs this program reads.

Executes nothing. A damaged or hostile file gets a less specific answer, never an error.
"""

import json
import zipfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open

_HEAD_BYTES = 4096
_SHOWN_NAMES = 6
_OLD_TORCH = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."
_MAGIC: tuple[tuple[bytes, str], ...] = (
    (b"version https://git-lfs", "a Git LFS pointer, not the file itself: fetch it with 'git lfs pull'"),
    (b"<!DOCTYPE", "a web page, not the file itself: download it again"),
    (b"<html", "a web page, not the file itself: download it again"),
    (_OLD_TORCH, "in PyTorch's format before 1.6: load it with PyTorch and torch.save it again"),
    (b"PK", "a PyTorch or zip archive that is cut short: copy it again"),
    (b"\x1f\x8b", "a gzip archive: unpack it"),
    (b"\x93NUMPY", "a NumPy array"),
    (b"\x89HDF", "an HDF5 file"),
)
_FAMILIES: tuple[tuple[frozenset[str], str], ...] = (
    (frozenset({"pre_b", "enc", "dec"}), "weights of an SAE, named as CLIP-Scope and Scopeview do"),
    (
        frozenset({"W_enc", "W_dec", "b_enc", "b_dec"}),
        "weights of an SAE, named as SAELens, Prisma and saev do",
    ),
    (frozenset({"encoder.weight", "W_dec"}), "weights of an SAE, named as sparsify does"),
    (
        frozenset({"encoder.weight", "decoder.weight"}),
        "weights of an SAE, named as dictionary_learning does",
    ),
)


def file_kind(path: Path) -> str:
    """A phrase that follows "it is": `a PyTorch file with weights of an SAE, named as ...`."""
    try:
        return _kind(path)
    except Exception:  # damaged files make readers raise almost anything, and this is only to say more
        return "of a format that is not known here"


def _kind(path: Path) -> str:
    with path.open("rb") as file:
        head = file.read(_HEAD_BYTES)
    if not head:
        return "empty"
    if head.startswith(b"{") and (saev := _saev(head)):
        return saev
    if zipfile.is_zipfile(path):
        return _archive(path)
    for magic, kind in _MAGIC:
        if head.startswith(magic):
            return kind
    if head[:1] == b"\x80":
        return "a bare pickle, which may hold code and is never loaded"
    if head.lstrip()[:1] in (b"{", b"["):
        return _json(path)
    return _safetensors(path) or "of a format that is not known here"


def _saev(head: bytes) -> str | None:
    """Describes saev's `sae.pt`: one line of JSON, then weights."""
    first, newline, rest = head.partition(b"\n")
    if not newline or rest[:2] not in (b"PK", b"\x80\x02"):
        return None
    return f"an SAE of saev (a line of JSON with {_some(json.loads(first))}, then PyTorch weights)"


def _archive(path: Path) -> str:
    with zipfile.ZipFile(path) as archive:
        names = archive.namelist()
    if not any(name.endswith("/data.pkl") for name in names):
        return f"a zip archive of {_some(names)}"
    try:
        content: Any = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except Exception:
        return "a PyTorch file that needs code to load, which is never run"
    if not isinstance(content, dict):
        return f"a PyTorch file that holds a {type(content).__name__}"
    nested = [value for value in content.values() if isinstance(value, Mapping)]
    families = [family for one in [content, *nested] if (family := _family(map(str, one)))]
    return f"a PyTorch file with {families[0] if families else _some(content)}"


def _safetensors(path: Path) -> str | None:
    try:
        with safe_open(path, framework="pt") as file:
            names = list(file.keys())
    except (SafetensorError, OSError):
        return None
    return f"a safetensors file with {_family(names) or _some(names)}"


def _json(path: Path) -> str:
    content = json.loads(path.read_bytes())
    return f"JSON with {_some(content)}" if isinstance(content, dict) else "JSON"


def _family(names: Iterable[str]) -> str | None:
    found = set(names)
    if any(name.startswith(("vision_model.", "visual.", "text_model.")) for name in found):
        return "weights of a CLIP, not of an SAE"
    return next((family for wanted, family in _FAMILIES if wanted <= found), None)


def _some(names: Iterable[object]) -> str:
    listed = sorted(map(str, names))
    return ", ".join(listed[:_SHOWN_NAMES]) + (", ..." if len(listed) > _SHOWN_NAMES else "")
