"""Wrong input ends with exit code 2 and one line that says what is wrong, before anything is computed."""

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

import pytest
import torch
from safetensors.torch import load_file, save_file

from indexer.encode import ShardEncoder
from scopeview.vision.clip import Clip
from tests.command import Ended, scopeview
from tests.indexer.tiny import N_FEATURES, WIDTH, K, index_words, jpeg, write_model, write_suite, write_world
from tests.saes import random_tensors, save_random_clipscope


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_world(tmp_path_factory.mktemp("whole"))


@pytest.fixture
def world(whole: Path, tmp_path: Path) -> Path:
    """A copy that a test may spoil."""
    return shutil.copytree(whole, tmp_path / "world")


@pytest.fixture
def nothing_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fails the test if an image gets as far as the model."""

    def refuse(*_: Any, **__: Any) -> NoReturn:
        pytest.fail("an image was computed on, though the input is wrong")

    monkeypatch.setattr(Clip, "forward", refuse)
    monkeypatch.setattr(Clip, "residual_stream", refuse)
    monkeypatch.setattr(ShardEncoder, "encode", refuse)


def refusal(ended: Ended, *parts: object) -> None:
    """Exit code 2, one line, and every part in it."""
    assert ended.code == 2, ended.err
    lines = ended.err.splitlines()
    assert [line for line in lines if line.startswith("scopeview: ")] == lines, ended.err
    for part in parts:
        assert str(part) in ended.err


def refused(world: Path, *more: object, parts: tuple[object, ...]) -> None:
    """`scopeview index` refuses this world and leaves nothing but its lock behind."""
    out = world / "index"
    refusal(scopeview(*index_words(world, out), *more), *parts)
    assert not out.exists() or {path.name for path in out.iterdir()} <= {".lock"}


def checkpoint(world: Path) -> Path:
    return next((world / "suite" / "1_resid").glob("*.pt"))


# -- SAE checkpoints ---------------------------------------------------------------------------------------


def _truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-700])


def _not_a_zip(path: Path) -> None:
    path.write_bytes(b"<html>404</html>" * 200)


def _wrong_shape(path: Path) -> None:
    weights = {**random_tensors(WIDTH, N_FEATURES, 0), "pre_b": torch.zeros(WIDTH + 1)}
    torch.save({"k": K, "model_state_dict": weights}, path)


def _not_finite(path: Path) -> None:
    weights = random_tensors(WIDTH, N_FEATURES, 0)
    weights["enc"][3, 5] = float("nan")
    torch.save({"k": K, "model_state_dict": weights}, path)


def _too_wide(path: Path) -> None:
    torch.save({"k": K, "model_state_dict": random_tensors(WIDTH + 8, N_FEATURES, 0)}, path)


def _no_weights(path: Path) -> None:
    torch.save({"k": K, "state": {}}, path)


@pytest.mark.usefixtures("nothing_runs")
@pytest.mark.parametrize(
    ("spoil", "parts"),
    [
        (_truncate, ("complete torch checkpoint", "truncated")),
        (_not_a_zip, ("complete torch checkpoint", "zip archive")),
        (_wrong_shape, ("pre_b", f"[{WIDTH + 1}]", f"expected [{WIDTH}]")),
        (_not_finite, ("enc", "nan", "[3, 5]", "expected finite weights")),
        (_too_wide, (f"takes {WIDTH + 8} dimensions", "layer 1", f"has {WIDTH}")),
        (_no_weights, ("state", "expected model_state_dict")),
    ],
)
def test_a_wrong_checkpoint_is_refused_by_name(
    world: Path, spoil: Callable[[Path], None], parts: tuple[str, ...]
) -> None:
    path = checkpoint(world)
    spoil(path)
    refused(world, parts=(path.name, *parts))


class _Code:
    """Unpickled without care, it makes a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __reduce__(self) -> tuple[Callable[[str], None], tuple[str]]:
        return os.mkdir, (str(self.folder),)


@pytest.mark.usefixtures("nothing_runs")
def test_code_in_a_checkpoint_is_refused_and_not_executed(world: Path) -> None:
    path, proof = checkpoint(world), world / "executed"
    torch.save({"k": K, "model_state_dict": random_tensors(WIDTH, N_FEATURES, 0), "x": _Code(proof)}, path)
    refused(world, parts=(path, "nothing in it was executed", "mkdir"))
    assert not proof.exists()


def test_weights_whose_activations_overflow_are_refused_before_anything_is_encoded(world: Path) -> None:
    weights = random_tensors(WIDTH, N_FEATURES, 0)
    weights["enc"] *= 1e30
    torch.save({"k": K, "model_state_dict": weights}, checkpoint(world))
    ended = scopeview(*index_words(world, world / "index"))
    assert ended.code == 2
    assert f"{checkpoint(world).name} gives numbers beyond all scale" in ended.err
    assert not (world / "index" / "shards").exists()


# -- models ------------------------------------------------------------------------------------------------


def _cut_weights(model: Path) -> None:
    _truncate(model / "model.safetensors")


def _no_preprocessing(model: Path) -> None:
    (model / "preprocessor_config.json").unlink()


def _no_model_weights(model: Path) -> None:
    (model / "model.safetensors").unlink()


def _nan_model(model: Path) -> None:
    tensors = load_file(model / "model.safetensors")
    tensors["vision_model.encoder.layers.2.mlp.fc1.weight"][0, 0] = float("nan")
    save_file(tensors, model / "model.safetensors")


def _other_kind(model: Path) -> None:
    (model / "config.json").write_text(json.dumps({"model_type": "bert"}))


def _other_crop(model: Path) -> None:
    path = model / "preprocessor_config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "crop_size": 64, "size": 64}))


@pytest.mark.usefixtures("nothing_runs")
@pytest.mark.parametrize(
    ("spoil", "parts"),
    [
        (_cut_weights, ("model.safetensors", "bytes", "promises")),
        (_no_preprocessing, ("model", "preprocessor_config.json")),
        (_no_model_weights, ("model", "no weights", "model.safetensors")),
        (_nan_model, ("model.safetensors", "layers.2.mlp.fc1.weight", "NaN")),
        (_other_kind, ("config.json", "bert", "expected one of 'clip'")),
        (_other_crop, ("preprocessor_config.json", "(64, 64)", "(32, 32)")),
    ],
)
def test_a_wrong_model_is_refused_by_name(
    world: Path, spoil: Callable[[Path], None], parts: tuple[str, ...]
) -> None:
    spoil(world / "model")
    refused(world, parts=parts)


@pytest.mark.usefixtures("nothing_runs")
def test_after_a_refusal_the_corrected_command_runs_in_the_same_folder(
    world: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _nan_model(world / "model")
    refused(world, parts=("NaN",))
    shutil.rmtree(world / "model")
    write_model(world / "model")
    refused(world, "--device", "cuda:99", parts=("cuda:99",))
    monkeypatch.undo()
    assert scopeview(*index_words(world, world / "index")).code == 0


# -- options -----------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("nothing_runs")
@pytest.mark.parametrize(
    ("options", "parts"),
    [
        (("--layers", "7"), ("layer 7", "blocks 0 to 2", "embed")),
        (("--layers", "2"), ("suite", "layer 2", "1, embed")),
        (("--layers", "-1"), ("'-1'", "block number")),
        (("--layers", "one"), ("'one'", "block number")),
        (("--layers", "1,1"), ("--layers", "twice")),
        (("--tokens", "17"), ("token 17", "1 to 16")),
        (("--tokens", "257"), ("token 257", "1 to 16")),
        (("--tokens", "1_0"), ("'1_0'", "'cls', 'any' or a token number")),
        (("--tokens", ""), ("''", "'cls', 'any' or a token number")),
        (("--tokens", "cls,0"), ("--tokens", "twice")),
        (("--slug", "A b"), ("'A b'", "a-z", "--slug")),
        (("--slug", "api"), ("'api'", "--slug")),
        (("--device", "tpu"), ("'tpu'", "'cpu' always can")),
        (("--device", "cuda:99"), ("'cuda:99'", "'cpu' always can")),
        (("--device", "meta"), ("'meta'", "'cpu' always can")),
        (("--memory-limit", "much"), ("--memory-limit", "'much'", "8GB")),
        (("--model", "no-such-folder"), ("no-such-folder", "org/name@revision")),
        (("--sae", "no-such-folder"), ("no-such-folder", "org/name@revision")),
    ],
    ids=lambda value: "-".join(value).strip("-") if isinstance(value, tuple) else None,
)
def test_a_wrong_option_is_refused_with_what_would_do(
    whole: Path, tmp_path: Path, options: tuple[str, ...], parts: tuple[str, ...]
) -> None:
    refusal(scopeview(*index_words(whole, tmp_path / "index"), *options), *parts)
    assert not (tmp_path / "index").exists()


@pytest.mark.parametrize(
    "options",
    [("--normalization", "some"), ("--limit", "0"), ("--max-bad-fraction", "2"), ("--dtype", "int8")],
)
def test_a_value_outside_an_options_range_is_a_usage_error(whole: Path, options: tuple[str, ...]) -> None:
    ended = scopeview(*index_words(whole, whole / "index"), *options)
    assert ended.code == 2
    assert options[0] in ended.err
    assert "Traceback" not in ended.err


# -- sources and folders -----------------------------------------------------------------------------------


def test_a_source_without_images_is_refused(world: Path) -> None:
    source = world / "source"
    shutil.rmtree(source)
    refused(world, parts=(source, "does not exist"))
    source.mkdir()
    refused(world, parts=(source, "no files"))
    (source / "notes.txt").write_text("hello")
    refused(world, parts=(source, "1 .txt", "nothing to index"))


def test_an_out_folder_that_holds_something_else_is_left_alone(whole: Path, tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("years of work")
    refusal(scopeview(*index_words(whole, tmp_path)), tmp_path, "not empty", "thesis.tex", "--out")
    assert [path.name for path in tmp_path.iterdir() if path.name != ".lock"] == ["thesis.tex"]
    refusal(scopeview(*index_words(whole, tmp_path / "thesis.tex")), "thesis.tex", "no folder", "--out")


def test_an_out_folder_with_a_record_that_is_none_is_refused(whole: Path, tmp_path: Path) -> None:
    for content in ("{", "[]", '{"runs": 3}'):
        (tmp_path / "run.json").write_text(content)
        refusal(scopeview(*index_words(whole, tmp_path)), tmp_path / "run.json", "not the record of a run")


def test_an_index_among_its_own_images_is_refused(world: Path) -> None:
    shutil.rmtree(world / "source")
    (world / "source").mkdir()
    (world / "source" / "a.jpg").write_bytes(jpeg(0))
    out = world / "source" / "index"
    refusal(scopeview(*index_words(world, out)), out, "inside the images")


# -- resuming ----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def begun(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A world with an index in it."""
    folder = write_world(tmp_path_factory.mktemp("begun"))
    assert scopeview(*index_words(folder, folder / "index"), "--layers", "embed").code == 0
    return folder


@pytest.mark.parametrize(
    ("options", "parts"),
    [
        (("--tokens", "any"), ("another tokens", "['cls', 'any']", "['any']")),
        (("--layers", "1"), ("another layers", "then ['embed'], now ['1']")),
        (("--layers", "embed,1"), ("another layers", "then ['embed'], now ['embed', '1']")),
        (("--limit", "5"), ("another limit", "then None, now 5")),
        (("--normalization", "standardize"), ("another normalization", "embed", "'none'", "'standardize'")),
        (("--dtype", "bfloat16"), ("another dtype", "'float32'", "'bfloat16'")),
        (("--slug", "other"), ("another slug", "'tiny'", "'other'")),
        (("--calibration-images", "9"), ("another calibration_images", "then 8, now 9")),
    ],
    ids=lambda value: value[0].strip("-") if isinstance(value, tuple) else None,
)
def test_another_configuration_does_not_resume_a_run(
    begun: Path, options: tuple[str, ...], parts: tuple[str, ...]
) -> None:
    words = index_words(begun, begun / "index")
    ended = scopeview(*words, "--layers", "embed", *options)
    refusal(ended, begun / "index" / "run.json", *parts, "choose another --out")


def test_changed_weights_and_images_do_not_resume_a_run(world: Path) -> None:
    words = index_words(world, world / "index")
    assert scopeview(*words).code == 0
    save_random_clipscope(world / "suite", layer=1, d_in=WIDTH, n_features=N_FEATURES, k=K, seed=9)
    refusal(scopeview(*words), "another saes", "1: then")
    write_suite(world / "suite")
    tar = world / "source" / "00001.tar"
    tar.write_bytes(tar.read_bytes()[:512] + b"\1" + tar.read_bytes()[513:])
    refusal(scopeview(*words), "another shards", "1 of 3 differ, first 00001")
    tar.unlink()
    refusal(scopeview(*words), "another shards", "1 of 2 differ, first 00001")


# -- other commands ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("command", ["info", "verify", "serve"])
def test_a_folder_that_is_no_index_is_refused(whole: Path, command: str) -> None:
    for folder in (whole / "missing", whole / "source", whole / "model" / "config.json"):
        refusal(scopeview(command, folder), folder, "no finished index", "manifest.json")


@pytest.mark.parametrize(
    ("content", "parts"),
    [("{", ("the file", "JSON")), ('{"format": "x"}', ("format", "scopeview-index versions 1 to 3"))],
)
def test_a_manifest_of_another_format_is_refused_by_name(
    tmp_path: Path, content: str, parts: tuple[str, ...]
) -> None:
    (tmp_path / "manifest.json").write_text(content)
    refusal(scopeview("info", tmp_path), tmp_path / "manifest.json", *parts)


@pytest.mark.usefixtures("nothing_runs")
def test_calibrate_refuses_what_index_refuses(world: Path) -> None:
    words = ["calibrate", world / "source", "--model", world / "model", "--sae", world / "suite"]
    refusal(scopeview(*words, "--layers", "7"), "layer 7", "blocks 0 to 2")
    refusal(scopeview(*words, "--device", "tpu"), "'tpu'")
    _not_finite(checkpoint(world))
    refusal(scopeview(*words), checkpoint(world).name, "expected finite weights")
