"""SAEs of another model: refused where that is certain, warned of where it is likely, and always recorded."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from scopeview.model_spec import recipe_of
from scopeview.store.manifest import read_manifest
from tests.command import Ended, scopeview
from tests.indexer.tiny import N_FEATURES, PROJECTION, WIDTH, K, write_model, write_source
from tests.saes import save_random_clipscope, save_random_native, save_random_saelens


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("world")
    write_source(folder / "source")
    write_model(folder / "model")
    return folder


def native_suite(folder: Path, model: Mapping[str, object]) -> Path:
    path = save_random_native(folder, layer="embed", d_in=PROJECTION, n_features=N_FEATURES, k=K) / "cfg.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "model": model}))
    return folder


def save_file_without_k(suite: Path) -> None:
    save_random_clipscope(suite, layer=1, d_in=WIDTH, n_features=N_FEATURES, k=K, with_sizes=False)


def index(world: Path, suite: Path, out: Path, *options: str) -> Ended:
    words = ["index", world / "source", "--model", world / "model", "--sae", suite, "--out", out]
    return scopeview(*words, "--tokens", "cls", "--batch-size", "4", "--calibration-images", "8", *options)


def layer_record(out: Path) -> dict[str, Any]:
    (record,) = json.loads((out / "manifest.json").read_text())["layers"]
    assert isinstance(record, dict)
    return record


def test_an_sae_of_other_weights_is_refused_and_can_be_forced(world: Path, tmp_path: Path) -> None:
    suite = native_suite(tmp_path / "suite", {"ref": "a/clip", "revision": "1", "sha256": "ab" * 32})
    refused = index(world, suite, tmp_path / "out")
    assert refused.code == 2
    for part in ("embed/sae.safetensors", "trained on another model", "a/clip (sha256 abababababab)"):
        assert part in refused.err
    assert not (tmp_path / "out").exists()

    forced = index(world, suite, tmp_path / "out", "--force-model")
    assert forced.code == 0, forced.err
    assert "was trained on another model" in forced.err
    assert "layer embed: its SAE was trained on another model, a/clip" in forced.out
    record = layer_record(tmp_path / "out")["trained_on"]
    assert (record["name"], record["sha256"], record["match"]) == ("a/clip", "ab" * 32, "different")
    assert recipe_of(tmp_path / "out", read_manifest(tmp_path / "out")).layers == ["embed"]  # for uploads


def test_calibrate_refuses_it_too(world: Path, tmp_path: Path) -> None:
    suite = native_suite(tmp_path / "suite", {"sha256": "ab" * 32})
    words = ["calibrate", world / "source", "--model", world / "model", "--sae", suite, "--images", "4"]
    assert scopeview(*words).code == 2
    assert scopeview(*words, "--force-model").code == 0


def test_an_sae_of_these_weights_is_recorded_as_that(world: Path, tmp_path: Path) -> None:
    digest = hashlib.sha256((world / "model" / "model.safetensors").read_bytes()).hexdigest()
    suite = native_suite(tmp_path / "suite", {"ref": "elsewhere/clip", "revision": None, "sha256": digest})
    ended = index(world, suite, tmp_path / "out")
    assert ended.code == 0, ended.err
    assert "warning" not in ended.err
    assert layer_record(tmp_path / "out")["trained_on"]["match"] == "same weights"


def test_another_name_is_warned_of(world: Path, tmp_path: Path) -> None:
    named = {"metadata": {"hook_name": "blocks.1.hook_resid_post", "model_name": "openai/clip-vit-base"}}
    save_random_saelens(tmp_path / "suite", layer=1, d_in=WIDTH, n_features=N_FEATURES, config=named)
    ended = index(world, tmp_path / "suite", tmp_path / "out")
    assert ended.code == 0, ended.err
    assert "may have been trained on another model, openai/clip-vit-base, not on" in ended.err
    assert layer_record(tmp_path / "out")["trained_on"]["match"] == "uncertain"


def test_a_stated_architecture_is_kept_for_uploads(world: Path, tmp_path: Path) -> None:
    save_file_without_k(tmp_path / "suite")
    refused = index(world, tmp_path / "suite", tmp_path / "out")
    assert (refused.code, "--architecture relu" in refused.err) == (2, True)
    ended = index(world, tmp_path / "suite", tmp_path / "out", "--architecture", "relu")
    assert ended.code == 0, ended.err
    record = layer_record(tmp_path / "out")
    assert (record["architecture"], record["k"], record["trained_on"]) == ("relu", None, None)
    recipe = recipe_of(tmp_path / "out", read_manifest(tmp_path / "out"))
    assert recipe.source(1).config.architecture == "relu"


def test_another_k_is_another_run(world: Path, tmp_path: Path) -> None:
    save_file_without_k(tmp_path / "suite")
    assert index(world, tmp_path / "suite", tmp_path / "out", "--k", "3").code == 0
    again = index(world, tmp_path / "suite", tmp_path / "out", "--k", "4")
    assert again.code == 2
    assert "another stated" in again.err
    both = index(world, tmp_path / "suite", tmp_path / "other", "--k", "3", "--architecture", "relu")
    assert (both.code, "leave one of them out" in both.err) == (2, True)
