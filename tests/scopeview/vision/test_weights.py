"""Weight files are read whole or refused by name, and a pickle with code in it runs none of it."""

import hashlib
import json
import pickle
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from scopeview.errors import ModelError
from scopeview.vision.weights import has_weights, read_tensors, sha256_of, weight_files


def tensors() -> dict[str, Tensor]:
    return {"tower.a": torch.arange(6.0).reshape(2, 3), "tower.b": torch.ones(4), "text.c": torch.zeros(100)}


def refusal(folder: Path) -> str:
    with pytest.raises(ModelError) as caught:
        read_tensors(folder, ["tower."])
    return str(caught.value)


def test_only_the_tensors_asked_for_are_read(tmp_path: Path) -> None:
    save_file(tensors(), tmp_path / "model.safetensors")
    found = read_tensors(tmp_path, ["tower."])
    assert found.keys() == {"tower.a", "tower.b"}
    assert torch.equal(found["tower.a"], tensors()["tower.a"])


@pytest.mark.parametrize("zipped", [True, False])
def test_pickled_weights_of_either_layout_are_read_as_data(tmp_path: Path, zipped: bool) -> None:
    torch.save(tensors(), tmp_path / "pytorch_model.bin", _use_new_zipfile_serialization=zipped)
    found = read_tensors(tmp_path, ["tower."])
    assert found.keys() == {"tower.a", "tower.b"}
    assert torch.equal(found["tower.a"], tensors()["tower.a"])


def test_shards_are_put_together_and_safetensors_are_preferred(tmp_path: Path) -> None:
    names = {"tower.a": "model-1.safetensors", "tower.b": "model-2.safetensors"}
    for tensor, file in names.items():
        save_file({tensor: tensors()[tensor]}, tmp_path / file)
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps({"weight_map": names}))
    (tmp_path / "pytorch_model.bin").write_bytes(b"not looked at")
    assert [path.name for path in weight_files(tmp_path)] == ["model-1.safetensors", "model-2.safetensors"]
    assert read_tensors(tmp_path, ["tower."]).keys() == {"tower.a", "tower.b"}


def test_a_variant_is_read_where_there_is_no_other_safetensors_file(tmp_path: Path) -> None:
    (tmp_path / "pytorch_model.bin").write_bytes(b"not looked at")
    save_file(tensors(), tmp_path / "model.fp16.safetensors")
    assert [path.name for path in weight_files(tmp_path)] == ["model.fp16.safetensors"]
    save_file(tensors(), tmp_path / "model.bf16.safetensors")
    assert "several variants" in refusal(tmp_path)
    save_file(tensors(), tmp_path / "model.safetensors")
    assert [path.name for path in weight_files(tmp_path)] == ["model.safetensors"]


def test_a_variant_may_come_in_shards(tmp_path: Path) -> None:
    save_file(tensors(), tmp_path / "model.fp16-00001-of-00001.safetensors")
    weight_map = dict.fromkeys(tensors(), "model.fp16-00001-of-00001.safetensors")
    (tmp_path / "model.safetensors.index.fp16.json").write_text(json.dumps({"weight_map": weight_map}))
    assert read_tensors(tmp_path, ["tower."]).keys() == {"tower.a", "tower.b"}


@pytest.mark.parametrize("pickled", [True, False])
def test_prefixes_of_compiled_and_parallel_training_are_left_out(tmp_path: Path, pickled: bool) -> None:
    named = {f"module._orig_mod.{name}": tensor for name, tensor in tensors().items()}
    if pickled:
        torch.save(named, tmp_path / "pytorch_model.bin")
    else:
        save_file(named, tmp_path / "model.safetensors")
    assert read_tensors(tmp_path, ["tower."]).keys() == {"tower.a", "tower.b"}


@pytest.mark.parametrize("shard", ["model-9.safetensors", "../model-1.safetensors", "/etc/passwd", 7])
def test_a_shard_that_is_not_in_the_folder_is_refused(tmp_path: Path, shard: object) -> None:
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps({"weight_map": {"a": shard}}))
    assert f"lists the shard {shard!r}" in refusal(tmp_path)


@pytest.mark.parametrize("text", ["{", "[]", "{}", '{"weight_map": 3}'])
def test_an_index_that_is_none_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "model.safetensors.index.json").write_text(text)
    assert "model.safetensors.index.json is not an index of shards" in refusal(tmp_path)


def test_a_folder_without_weights_says_what_is_expected(tmp_path: Path) -> None:
    assert not has_weights(tmp_path)
    assert "expected model.safetensors or pytorch_model.bin" in refusal(tmp_path)


def test_a_file_cut_short_names_both_sizes(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    save_file(tensors(), path)
    whole = path.read_bytes()
    for size in [len(whole) - 1, len(whole) - 400]:
        path.write_bytes(whole[:size])
        message = refusal(tmp_path)
        assert f"{path} has {size:,} bytes" in message
        assert f"{len(whole):,}" in message
    for size in [0, 4, 20]:
        path.write_bytes(whole[:size])
        assert f"{path} has {size:,} bytes, too few" in refusal(tmp_path)


@pytest.mark.parametrize(
    "content", [b"<html>not found</html>" * 9, b"\x02" + b"\0" * 7 + b"[]", b"\x04" + b"\0" * 7 + b"junk"]
)
def test_what_is_no_safetensors_file_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "model.safetensors").write_bytes(content)
    assert "model.safetensors" in refusal(tmp_path)


class Malicious:
    """Unpickled, it would make a file."""

    def __init__(self, made: Path) -> None:
        self.made = made

    def __reduce__(self) -> tuple[object, tuple[Path]]:
        return Path.touch, (self.made,)


@pytest.mark.parametrize("layout", ["torch zip", "torch legacy", "bare pickle"])
def test_a_pickle_with_code_in_it_runs_none_of_it(tmp_path: Path, layout: str) -> None:
    path, made = tmp_path / "pytorch_model.bin", tmp_path / "made by the pickle"
    content = {"tower.a": torch.ones(2), "tower.b": Malicious(made)}
    if layout == "bare pickle":
        path.write_bytes(pickle.dumps({"tower.b": Malicious(made)}))
    else:
        torch.save(content, path, _use_new_zipfile_serialization=layout == "torch zip")
    message = refusal(tmp_path)
    assert str(path) in message
    assert "nothing was run" in message
    assert not made.exists()


def test_pickled_weights_that_are_damaged_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "pytorch_model.bin"
    torch.save(tensors(), path)
    whole = path.read_bytes()
    for damaged in [whole[: len(whole) // 2], whole[:-1], b"", b"junk", whole[:10]]:
        path.write_bytes(damaged)
        assert f"{path} ({len(damaged):,} bytes)" in refusal(tmp_path)


@pytest.mark.parametrize("content", [[1, 2], {"tower.a": "text"}, torch.ones(3)])
def test_a_pickle_of_something_else_is_refused(tmp_path: Path, content: object) -> None:
    torch.save(content, tmp_path / "pytorch_model.bin")
    assert "tensor" in refusal(tmp_path)


def test_the_digest_is_sha256sums(tmp_path: Path) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    one.write_bytes(b"1")
    two.write_bytes(b"2")
    assert sha256_of([one]) == hashlib.sha256(b"1").hexdigest()
    lines = f"{hashlib.sha256(b'1').hexdigest()}  one\n{hashlib.sha256(b'2').hexdigest()}  two\n"
    assert sha256_of([one, two]) == hashlib.sha256(lines.encode()).hexdigest()
