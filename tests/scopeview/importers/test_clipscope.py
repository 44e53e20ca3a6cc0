"""CLIP-Scope `.pt` files: what is read, what is refused, and that nothing in them ever runs."""

import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from scopeview.errors import CheckpointError
from scopeview.importers import Stated, clipscope, load_sae, read_suite
from scopeview.importers.source import WeightFile
from scopeview.sae.model_match import TrainedOn
from tests.saes import random_tensors, save_random_clipscope


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SCOPEVIEW_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def save(suite: Path, layer: int = 5, **options: int | bool) -> Path:
    sizes = {"d_in": 8, "n_features": 48, "k": 4, **options}
    return save_random_clipscope(suite, layer=layer, **sizes)  # type: ignore[arg-type]


def refused(path: Path, *expected: str) -> str:
    """The message with which this file is refused; it names the file."""
    with pytest.raises(CheckpointError) as caught:
        load_sae(read_suite(str(path)).sources[0])
    message = str(caught.value)
    assert str(path) in message
    for text in expected:
        assert text in message
    return message


def rewrite(path: Path, change: Callable[[dict[str, object], dict[str, Tensor]], None]) -> Path:
    """Applies `change(checkpoint, state_dict)` to a saved checkpoint."""
    checkpoint = torch.load(path, weights_only=True)
    change(checkpoint, checkpoint["model_state_dict"])
    torch.save(checkpoint, path)
    return path


def test_a_checkpoint_gives_its_weights_and_config(tmp_path: Path) -> None:
    save(tmp_path / "suite", layer=22)
    [source] = read_suite(str(tmp_path / "suite")).sources
    sae = load_sae(source)
    assert (source.format, source.layer) == ("clip-scope", 22)
    assert source.config.source == "22_resid/1200013184.pt"
    assert (source.config.d_in, source.config.n_features, source.config.k) == (8, 48, 4)
    for name, tensor in random_tensors(8, 48, seed=0).items():
        assert torch.equal(getattr(sae, name), tensor)


def test_it_needs_calibration_before_it_encodes(tmp_path: Path) -> None:
    save(tmp_path / "suite")
    sae = load_sae(read_suite(str(tmp_path / "suite")).sources[0])
    assert sae.config.normalization == "standardize"
    with pytest.raises(CheckpointError, match="calibrate"):
        sae.encode(torch.zeros(1, 8))
    assert sae.without_standardization().encode(torch.zeros(1, 8)).values.shape == (1, 4)


SUITE_CACHE = Path("models--lewington--CLIP-ViT-L-scope") / "snapshots" / "0123abc"


def test_without_size_keys_a_file_of_the_suite_has_the_shapes_widths_and_the_suites_k(tmp_path: Path) -> None:
    save(tmp_path / SUITE_CACHE, with_sizes=False)
    [source] = read_suite(str(tmp_path / SUITE_CACHE)).sources
    assert (source.config.d_in, source.config.n_features, source.config.k) == (8, 48, 32)
    assert source.config.normalization == "standardize"
    assert source.trained_on == TrainedOn("laion/CLIP-ViT-L-14-laion2B-s32B-b82K")
    assert source.notes == ()


def test_a_copy_of_a_file_of_the_suite_is_known_by_its_name_and_widths() -> None:
    def is_known(name: str, d_in: int = 1024, n_features: int = 65_536) -> bool:
        found = WeightFile("clip-scope", 22, Path("/copies") / name, name)
        return clipscope.is_of_suite(found, clipscope.Sizes(d_in, n_features, None))

    assert is_known("22_resid/1200013184.pt")
    assert not is_known("22_resid/600013184.pt")
    assert not is_known("3_resid/1200013184.pt")
    assert not is_known("22_resid/1200013184.pt", n_features=32_768)


def test_another_file_without_k_is_refused_and_the_advice_works(tmp_path: Path) -> None:
    file = save(tmp_path, with_sizes=False)
    refused(file, "no k", "may be a TopK or a ReLU SAE", "--k N", "--architecture relu")
    [topk] = read_suite(str(file), stated=Stated(k=4)).sources
    [relu] = read_suite(str(file), stated=Stated("relu")).sources
    assert (topk.config.architecture, topk.config.k) == ("topk", 4)
    assert (relu.config.architecture, relu.config.k) == ("relu", None)
    assert topk.trained_on is None


def test_a_relu_file_keeps_every_feature_that_fires(tmp_path: Path) -> None:
    save(tmp_path, with_sizes=False)
    [source] = read_suite(str(tmp_path), stated=Stated("relu")).sources
    x = torch.randn(5, 8, generator=torch.Generator().manual_seed(3))
    weights = random_tensors(8, 48, seed=0)
    expected = ((x - weights["pre_b"]) @ weights["enc"] > 0).sum(dim=1)
    codes = load_sae(source).without_standardization().encode(x)
    assert torch.equal((codes.values > 0).sum(dim=1), expected)


def test_what_the_file_states_is_not_overruled(tmp_path: Path) -> None:
    file = save(tmp_path)
    for stated, expected in [(Stated(k=5), "has k = 4, but --k says 5"), (Stated("relu"), "is a topk SAE")]:
        with pytest.raises(CheckpointError, match=expected):
            read_suite(str(file), stated=stated)


def test_a_conversion_keeps_no_k_that_was_only_stated(tmp_path: Path) -> None:
    file = save(tmp_path, with_sizes=False)
    load_sae(read_suite(str(file), stated=Stated(k=4)).sources[0])
    refused(file, "no k")


def test_a_normalisation_that_is_assumed_is_noted(tmp_path: Path) -> None:
    [note] = read_suite(str(save(tmp_path))).sources[0].notes
    assert "does not say how its inputs were normalised" in note
    assert "--normalization none" in note


def test_the_optimizers_state_is_ignored(tmp_path: Path) -> None:
    save(tmp_path / "plain")
    save(tmp_path / "full", with_optimizer=True)
    plain, full = (load_sae(read_suite(str(tmp_path / name)).sources[0]) for name in ("plain", "full"))
    assert torch.equal(plain.enc, full.enc)
    assert plain.config.sha256 != full.config.sha256


def test_a_file_is_converted_once(tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save(tmp_path / "suite")
    [source] = read_suite(str(tmp_path / "suite")).sources
    first = load_sae(source)
    [converted] = (cache / "saes").iterdir()
    assert converted.name == f"{source.config.sha256}.safetensors"
    monkeypatch.setattr(torch, "load", lambda *_, **__: pytest.fail("read the pickle again"))
    [again] = read_suite(str(tmp_path / "suite")).sources
    assert again == source
    assert torch.equal(load_sae(again).dec, first.dec)


def test_a_damaged_conversion_is_made_again(tmp_path: Path, cache: Path) -> None:
    save(tmp_path / "suite")
    [source] = read_suite(str(tmp_path / "suite")).sources
    load_sae(source)
    [converted] = (cache / "saes").iterdir()
    whole = converted.read_bytes()
    converted.unlink()
    converted.write_bytes(whole[:100])
    assert torch.equal(load_sae(source).enc, random_tensors(8, 48, seed=0)["enc"])
    assert converted.stat().st_size == len(whole)


def test_a_single_file_and_a_single_layers_folder_are_suites_too(tmp_path: Path) -> None:
    file = save(tmp_path, layer=11)
    for ref in (file, file.parent):
        assert read_suite(str(ref)).layers == [11]


def test_a_file_outside_a_layers_folder_is_refused_and_the_advice_works(tmp_path: Path) -> None:
    file = save(tmp_path).rename(tmp_path / "sae.pt")
    refused(file, "cannot tell which layer", "--layers 22", "22_resid")
    [source] = read_suite(str(file), [22]).sources
    assert (source.layer, source.config.source) == (22, "sae.pt")
    (tmp_path / "22_resid").mkdir()
    assert read_suite(str(file.rename(tmp_path / "22_resid" / "sae.pt"))).layers == [22]


@pytest.mark.parametrize("k", [4.0, torch.tensor(4), np.int64(4), np.float32(4)])
def test_a_k_that_is_a_number_of_another_kind_is_read(tmp_path: Path, k: object) -> None:
    rewrite(save(tmp_path), lambda checkpoint, _: checkpoint.update(k=k))
    assert read_suite(str(tmp_path)).sources[0].config.k == 4


@pytest.mark.parametrize("prefix", ["_orig_mod.", "module.", "module._orig_mod."])
def test_prefixes_of_compiled_and_parallel_training_are_left_out(tmp_path: Path, prefix: str) -> None:
    def add_prefix(_: object, state: dict[str, Tensor]) -> None:
        for name in list(state):
            state[prefix + name] = state.pop(name)

    rewrite(save(tmp_path), add_prefix)
    assert torch.equal(
        load_sae(read_suite(str(tmp_path)).sources[0]).enc, random_tensors(8, 48, seed=0)["enc"]
    )


def test_a_tensor_with_and_without_a_prefix_is_refused(tmp_path: Path) -> None:
    file = rewrite(save(tmp_path), lambda _, state: state.update({"module.enc": state["enc"]}))
    refused(file, "enc twice")


def test_double_precision_weights_are_read_as_single(tmp_path: Path) -> None:
    rewrite(save(tmp_path), lambda _, state: state.update(enc=state["enc"].double()))
    assert load_sae(read_suite(str(tmp_path)).sources[0]).enc.dtype == torch.float32


def test_a_truncated_file_is_refused(tmp_path: Path) -> None:
    file = save(tmp_path)
    file.write_bytes(file.read_bytes()[:-100])
    refused(file, "not a complete torch checkpoint", "truncated")


@pytest.mark.parametrize("content", [b"", b"not a checkpoint", b"PK\x03\x04" + bytes(100)])
def test_a_file_that_is_no_archive_is_refused(tmp_path: Path, content: bytes) -> None:
    file = save(tmp_path)
    file.write_bytes(content)
    refused(file, f"({len(content)} bytes)", "not a complete torch checkpoint")


def test_torchs_old_format_is_refused(tmp_path: Path) -> None:
    file = save(tmp_path)
    torch.save({"model_state_dict": {}}, file, _use_new_zipfile_serialization=False)
    refused(file, "not a complete torch checkpoint")


class Malicious:
    """Unpickling this creates the file `path`."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, ...]:
        return (Path.touch, (self.path,))


@pytest.mark.parametrize("archived", [True, False])
def test_a_pickle_with_code_in_it_is_refused_and_nothing_executes(tmp_path: Path, archived: bool) -> None:
    file, trace = save(tmp_path), tmp_path / "executed"
    if archived:
        torch.save({"model_state_dict": Malicious(trace)}, file)
    else:
        file.write_bytes(pickle.dumps(Malicious(trace)))
    message = refused(file)
    assert not trace.exists()
    assert "weights_only" not in message  # torch's advice how to execute it after all


def test_a_torchscript_archive_is_refused(tmp_path: Path) -> None:
    file = save(tmp_path)
    with zipfile.ZipFile(file, "a") as archive:
        archive.writestr("1200013184/constants.pkl", pickle.dumps(()))
    refused(file, "nothing in it was executed")


def test_other_contents_are_refused(tmp_path: Path) -> None:
    file = save(tmp_path)
    torch.save(torch.zeros(3), file)
    refused(file, "holds a Tensor", "expected a dict")
    torch.save({"state": {}}, file)
    refused(file, "['state']", "expected model_state_dict")
    torch.save({"model_state_dict": {"pre_b": "?"}}, file)
    refused(file, "'pre_b'", "is a str", "expected a tensor")


def test_missing_and_unknown_weights_are_named(tmp_path: Path) -> None:
    file = rewrite(save(tmp_path), lambda _, state: state.update(enc_b=state.pop("pre_b")))
    refused(file, "missing: pre_b", "unknown: enc_b")


@pytest.mark.parametrize("name", ["enc", "dec", "pre_b"])
def test_shapes_that_do_not_fit_each_other_are_refused(tmp_path: Path, name: str) -> None:
    file = rewrite(save(tmp_path), lambda _, state: state.update({name: torch.zeros(7, 9)}))
    refused(file, "[7, 9]", "expected")


def test_integer_weights_are_refused(tmp_path: Path) -> None:
    file = rewrite(save(tmp_path), lambda _, state: state.update(enc=state["enc"].long()))
    refused(file, "enc is int64", "expected one of float32")


def test_half_precision_weights_are_upcast(tmp_path: Path) -> None:
    rewrite(save(tmp_path), lambda _, state: state.update(enc=state["enc"].half()))
    assert load_sae(read_suite(str(tmp_path)).sources[0]).enc.dtype == torch.float32


@pytest.mark.parametrize(("key", "size"), [("d_in", 8), ("n_features", 48)])
def test_size_keys_that_contradict_the_weights_are_refused(tmp_path: Path, key: str, size: int) -> None:
    file = rewrite(save(tmp_path), lambda checkpoint, _: checkpoint.update({key: 77}))
    refused(file, f"{key} says 77", f"weights have {size}")


@pytest.mark.parametrize("k", [0, 49, True, "4"])
def test_an_impossible_k_is_refused(tmp_path: Path, k: object) -> None:
    file = rewrite(save(tmp_path), lambda checkpoint, _: checkpoint.update(k=k))
    refused(file, f"k is {k!r}", "from 1 to 48")


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_not_finite_are_refused_and_not_kept(
    tmp_path: Path, cache: Path, value: float
) -> None:
    file = rewrite(save(tmp_path / "suite"), lambda _, state: state["dec"].__setitem__((3, 2), value))
    refused(file, "tensor dec holds 1 values that are not finite", str(value), "[3, 2]")
    assert not list(cache.rglob("*.safetensors"))


def test_a_cache_that_cannot_be_written_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = save(tmp_path)
    (tmp_path / "occupied").touch()
    monkeypatch.setenv("SCOPEVIEW_CACHE", str(tmp_path / "occupied"))
    refused(file, "SCOPEVIEW_CACHE")


def test_the_k_of_the_suite_is_32() -> None:
    assert clipscope.SUITE_K == 32
