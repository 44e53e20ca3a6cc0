"""What is said of files that are no SAE this program reads."""

import json
import pickle
import zipfile
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from scopeview.errors import CheckpointError
from scopeview.importers import read_suite
from scopeview.importers.file_kind import file_kind


def _saev(path: Path) -> None:
    torch.save(OrderedDict(W_enc=torch.zeros(2, 3)), path)
    weights = path.read_bytes()
    path.write_bytes(json.dumps({"schema": 5, "cfg": {"d_model": 2}}).encode() + b"\n" + weights)


def _cut(path: Path) -> None:
    torch.save({"a": torch.zeros(9)}, path)
    path.write_bytes(path.read_bytes()[:200])


def _zip(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("readme.txt", "")


def _numpy(path: Path) -> None:
    with path.open("wb") as file:
        np.save(file, np.zeros(3))


KINDS: list[tuple[Callable[[Path], object], str]] = [
    (lambda path: path.write_bytes(b""), "empty"),
    (lambda path: path.write_bytes(b"version https://git-lfs.github.com/spec/v1\n"), "git lfs pull"),
    (lambda path: path.write_text("<!DOCTYPE html><html></html>"), "a web page"),
    (lambda path: path.write_text('{"a": 1, "b": 2}'), "JSON with a, b"),
    (lambda path: path.write_bytes(pickle.dumps([1])), "a bare pickle"),
    (lambda path: path.write_bytes(bytes(range(200, 240))), "not known here"),
    (_numpy, "a NumPy array"),
    (_zip, "a zip archive of readme.txt"),
    (_cut, "cut short"),
    (_saev, "an SAE of saev"),
    (lambda path: torch.save({"model": {"encoder.weight": 1, "decoder.weight": 2}}, path), "dictionary_l"),
    (lambda path: torch.save({}, path, _use_new_zipfile_serialization=False), "PyTorch's format before 1.6"),
    (lambda path: torch.save(torch.zeros(2), path), "a PyTorch file that holds a Tensor"),
    (lambda path: torch.save({"path": Path()}, path), "needs code to load"),
]


@pytest.mark.parametrize(("write", "expected"), KINDS)
def test_each_kind_of_file_is_named(tmp_path: Path, write: Callable[[Path], object], expected: str) -> None:
    write(tmp_path / "sae.pt")
    assert expected in file_kind(tmp_path / "sae.pt")


@pytest.mark.parametrize("write", [write for write, _ in KINDS])
def test_each_of_them_is_refused_with_its_name(tmp_path: Path, write: Callable[[Path], object]) -> None:
    write(tmp_path / "sae.pt")
    with pytest.raises(CheckpointError, match=r"sae\.pt"):
        read_suite(str(tmp_path / "sae.pt"))


def test_an_sae_of_saev_is_not_called_damaged(tmp_path: Path) -> None:
    _saev(tmp_path / "sae.pt")
    with pytest.raises(CheckpointError, match=r"missing: W_dec|the decoder missing") as caught:
        read_suite(str(tmp_path / "sae.pt"), [3])
    assert "damaged" not in str(caught.value)
