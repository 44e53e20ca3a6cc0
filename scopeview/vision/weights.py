"""Reads the weights of a model folder, and only safely: safetensors, or `pytorch_model.bin` without its code.

Weights are one file, or shards with an index. Knows names and tensors, not their purpose, which `clip` knows.
Any problem is a `ModelError` that names the file.
"""

import hashlib
import json
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from scopeview.errors import ModelError
from scopeview.store.files import file_sha256, read_json

SAFETENSORS = "model.safetensors"
PICKLE = "pytorch_model.bin"
# `model.fp16.safetensors`, and the index of its shards, as transformers names them.
VARIANTS = "model.[!.]*.safetensors"
VARIANT_INDEXES = "model.safetensors.index.[!.]*.json"
_HEADER_BYTES = 8


def plain_name(name: str) -> str:
    """A tensor's name without prefixes of `torch.compile` (`_orig_mod.`) or parallel training (`module.`)."""
    parts = [part for part in name.split(".") if part != "_orig_mod"]
    while parts[:1] == ["module"]:
        del parts[0]
    return ".".join(parts)


def has_weights(folder: Path) -> bool:
    """True if the folder has a weight file, or an index of shards."""
    return bool(_find(folder))


def weight_files(folder: Path) -> list[Path]:
    """The weight files: safetensors if available; shards in order of names. Raises `ModelError` for none.

    A variant such as `model.fp16.safetensors` is used if there is no other safetensors file.
    """
    found = _find(folder)
    if not found:
        raise ModelError(
            f"{folder} holds no weights: expected {SAFETENSORS} or {PICKLE}, or shards with an index"
        )
    if len(found) > 1:
        names = ", ".join(path.name for path in found)
        raise ModelError(f"{folder} holds several variants of the weights ({names}): expected one of them")
    return _shards(found[0]) if found[0].suffix == ".json" else found


def _find(folder: Path) -> list[Path]:
    """The weight file or the index of shards; several if there are only variants to choose from."""
    choices = (
        [folder / SAFETENSORS],
        [folder / f"{SAFETENSORS}.index.json"],
        [*(path for path in folder.glob(VARIANTS) if "-of-" not in path.name), *folder.glob(VARIANT_INDEXES)],
        [folder / PICKLE],
        [folder / f"{PICKLE}.index.json"],
    )
    present = (sorted(path for path in paths if path.is_file()) for paths in choices)
    return next((paths for paths in present if paths), [])


def read_tensors(folder: Path, prefixes: Sequence[str]) -> dict[str, Tensor]:
    """The tensors whose names start with one of `prefixes`, on the CPU, in the file's own precision."""
    tensors: dict[str, Tensor] = {}
    for path in weight_files(folder):
        read = _read_safetensors if path.suffix == ".safetensors" else _read_pickle
        tensors |= read(path, tuple(prefixes))
    return tensors


def sha256_of(paths: Sequence[Path]) -> str:
    """The SHA-256 of a file, as `sha256sum` prints it; for several, that of their `sha256sum` lines."""
    lines = [f"{file_sha256(path)}  {path.name}\n" for path in paths]
    return lines[0].split()[0] if len(lines) == 1 else hashlib.sha256("".join(lines).encode()).hexdigest()


def _shards(index: Path) -> list[Path]:
    try:
        names = sorted(set(read_json(index)["weight_map"].values()))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ModelError(f"{index} is not an index of shards (a JSON object with a weight_map)") from error
    for name in names:
        if not isinstance(name, str) or Path(name).name != name or not (index.parent / name).is_file():
            raise ModelError(f"{index} lists the shard {name!r}, which is not in its folder")
    return [index.parent / name for name in names]


def _read_safetensors(path: Path, prefixes: tuple[str, ...]) -> dict[str, Tensor]:
    check_size(path)
    try:
        with safe_open(path, framework="pt", device="cpu") as opened:
            stored = {plain_name(name): name for name in opened.keys()}  # noqa: SIM118
            return {name: opened.get_tensor(at) for name, at in stored.items() if name.startswith(prefixes)}
    except (SafetensorError, OSError, ValueError) as error:
        raise ModelError(f"{path} is not a readable safetensors file: {error}") from error


def check_size(path: Path) -> None:
    """Raises `ModelError` for a truncated safetensors file, the usual damage of a copy; says by how much."""
    size, expected = path.stat().st_size, _expected_size(path)
    if size != expected:
        raise ModelError(f"{path} has {size:,} bytes, but its header promises {expected:,}: copy it again")


def _expected_size(path: Path) -> int:
    """The size of a safetensors file: 8 bytes with the header's length, the header (JSON), the tensors."""
    with path.open("rb") as file:
        n_header = int.from_bytes(file.read(_HEADER_BYTES), "little")
        size = path.stat().st_size
        if size < _HEADER_BYTES + n_header:
            raise ModelError(
                f"{path} has {size:,} bytes, too few for its header (at least {_HEADER_BYTES + n_header:,} "
                f"expected): it is cut short, or no safetensors file"
            )
        header = file.read(n_header)
    try:
        ends = [
            entry["data_offsets"][1] for name, entry in json.loads(header).items() if name != "__metadata__"
        ]
    except (ValueError, KeyError, IndexError, TypeError, AttributeError) as error:
        raise ModelError(f"{path} is not a safetensors file: its header is not readable") from error
    return _HEADER_BYTES + n_header + max(ends, default=0)


def _read_pickle(path: Path, prefixes: tuple[str, ...]) -> dict[str, Tensor]:
    """Reads a pickle with `weights_only`: accepts only tensors and plain containers, executes nothing."""
    try:
        loaded: Any = torch.load(path, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(path))
    except (
        Exception
    ) as error:  # on damaged files torch's reader raises struct.error, IndexError, ... as it may
        reason = next(iter(str(error).splitlines()), type(error).__name__)
        raise ModelError(
            f"{path} ({path.stat().st_size:,} bytes) is damaged, or holds code (nothing was run): {reason}"
        ) from error
    if not isinstance(loaded, dict):
        raise ModelError(f"{path} holds a {type(loaded).__name__}, expected a dict of tensors by name")
    plain = {plain_name(str(name)): value for name, value in loaded.items()}
    named = {name: value for name, value in plain.items() if name.startswith(prefixes)}
    wrong = [name for name, value in named.items() if not isinstance(value, Tensor)]
    if wrong:
        raise ModelError(f"{path}: {wrong[0]!r} is no tensor")
    return named


def check_tensors(folder: Path, expected: Mapping[str, Tensor], found: Mapping[str, Tensor]) -> None:
    """Raises `ModelError` if a weight is missing, unknown, of another shape, or not finite."""
    files = ", ".join(str(path) for path in weight_files(folder))
    if missing := sorted(expected.keys() - found.keys()):
        raise ModelError(f"{files}: {len(missing)} weights are missing, among them {first_names(missing)}")
    if unknown := sorted(found.keys() - expected.keys()):
        raise ModelError(
            f"{files}: {len(unknown)} weights have no place in the model: {first_names(unknown)}"
        )
    for name, tensor in found.items():
        if tensor.shape != expected[name].shape:
            shapes = f"{tuple(tensor.shape)}, expected {tuple(expected[name].shape)} by config.json"
            raise ModelError(f"{files}: {name} has shape {shapes}")
        if not bool(torch.isfinite(tensor).all()):
            raise ModelError(f"{files}: {name} holds NaN or infinite values")


def tensor_names(folder: Path) -> set[str]:
    """The names of all tensors in the weight files. Raises `ModelError`."""
    names: set[str] = set()
    for path in weight_files(folder):
        names |= _names_in(path)
    return names


def _names_in(path: Path) -> set[str]:
    if path.suffix != ".safetensors":
        return set(_read_pickle(path, ("",)))
    check_size(path)
    try:
        with safe_open(path, framework="pt", device="cpu") as opened:
            return {plain_name(name) for name in opened.keys()}  # noqa: SIM118
    except (SafetensorError, OSError, ValueError) as error:
        raise ModelError(f"{path} is not a readable safetensors file: {error}") from error


def first_names(names: Sequence[str]) -> str:
    """The first four names, for a message."""
    return ", ".join(names[:4]) + (", ..." if len(names) > 4 else "")
