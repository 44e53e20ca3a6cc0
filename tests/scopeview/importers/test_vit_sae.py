"""PatchSAE's, ConceptScope's and HugoFry's files, by torch.save and by pickle; no code in them is run."""

import gzip
import os
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from scopeview.errors import CheckpointError
from scopeview.sae.model_match import TrainedOn
from tests.scopeview.importers.twins import (
    D_IN,
    N_FEATURES,
    assert_equal,
    load,
    pickled_class,
    raw,
    relu,
    source_of,
    tensors,
    wide,
)

STATE = tensors(W_enc=(D_IN, N_FEATURES), b_enc=(N_FEATURES,), W_dec=(N_FEATURES, D_IN), b_dec=(D_IN,))
CONFIG: dict[str, object] = {
    "model_name": "openai/clip-vit-large-patch14",
    "module_name": "resid",
    "block_layer": -2,
    "d_in": D_IN,
    "expansion_factor": 64,
    "dtype": torch.float32,
    "device": torch.device("cuda"),
}
Save = Callable[[object, Path], None]


def by_torch(content: object, path: Path) -> None:
    torch.save(content, path)


def by_pickle(content: object, path: Path) -> None:
    with gzip.open(path, "wb") if path.suffix == ".gz" else path.open("wb") as file:
        pickle.dump(content, file)


@pytest.mark.parametrize("module", ["sae_training.config", "src.sae_training.config"])
@pytest.mark.parametrize(
    ("name", "save"), [("final.pt", by_torch), ("sae.pkl", by_pickle), ("sae.pkl.gz", by_pickle)]
)
def test_a_pickled_config_is_read_by_a_stand_in(tmp_path: Path, module: str, name: str, save: Save) -> None:
    with pickled_class(f"{module}.ViTSAERunnerConfig", CONFIG) as config:
        save({"cfg": config, "state_dict": STATE}, tmp_path / name)
    source = source_of(tmp_path)
    assert source.config.layer == 22  # the last but one of 24 blocks
    assert source.trained_on == TrainedOn("openai/clip-vit-large-patch14")
    w = wide(STATE)
    codes = relu((raw() - w["b_dec"]) @ w["W_enc"] + w["b_enc"])
    assert_equal(load(tmp_path), codes, codes @ w["W_dec"] + w["b_dec"])


@pytest.mark.parametrize("key", ["cfg", "config"])
@pytest.mark.parametrize(
    ("model", "layer"), [("clip-vit-base-patch16", 10), ("clip-vit-large-patch14-336", 22)]
)
def test_a_config_may_be_a_dict(tmp_path: Path, key: str, model: str, layer: int) -> None:
    path = tmp_path / "clip_-2_resid_32768.pt"
    torch.save({key: {**CONFIG, "model_name": f"openai/{model}"}, "state_dict": STATE}, path)
    assert source_of(path).config.layer == layer


def test_the_last_but_one_of_an_unknown_model_needs_its_number(tmp_path: Path) -> None:
    path = tmp_path / "sae.pt"
    torch.save({"cfg": {**CONFIG, "model_name": "someone/else"}, "state_dict": STATE}, path)
    with pytest.raises(CheckpointError, match="expected --layers with its one layer"):
        source_of(path)
    assert source_of(path, [5]).config.layer == 5


class Evil:
    def __reduce__(self) -> tuple[object, ...]:
        return (os.system, ("touch executed",))


@pytest.mark.parametrize(("name", "save"), [("sae.pt", by_torch), ("sae.pkl.gz", by_pickle)])
@pytest.mark.parametrize("place", ["cfg", "state_dict"])
def test_code_is_never_executed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, save: Save, place: str
) -> None:
    monkeypatch.chdir(tmp_path)
    save({"cfg": CONFIG, "state_dict": STATE, place: Evil()}, tmp_path / name)
    with pytest.raises(CheckpointError, match=r"nothing in it was executed\): found a pickled \w+\.system"):
        source_of(tmp_path / name)
    assert not (tmp_path / "executed").exists()


def test_a_tensor_that_reaches_beyond_its_storage_is_refused(tmp_path: Path) -> None:
    class Beyond:
        def __reduce__(self) -> tuple[object, ...]:
            reduce: Callable[[int], tuple[Any, Any]] = torch.zeros(2, 2).__reduce_ex__
            rebuild, (storage, offset, _, stride, *rest) = reduce(2)
            return rebuild, (storage, offset, (999, 2), stride, *rest)

    by_pickle({"cfg": CONFIG, "state_dict": {**STATE, "W_enc": Beyond()}}, tmp_path / "sae.pkl")
    with pytest.raises(CheckpointError, match="a damaged pickle"):
        source_of(tmp_path / "sae.pkl")


@pytest.mark.parametrize("keep", [0.5, 0.99])
def test_a_truncated_pickle_is_refused(tmp_path: Path, keep: float) -> None:
    path = tmp_path / "sae.pkl.gz"
    by_pickle({"cfg": CONFIG, "state_dict": STATE}, path)
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * keep)])
    with pytest.raises(CheckpointError, match=r"sae\.pkl\.gz is not a complete pickle"):
        source_of(path)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"gated_sae": True}, "gated_sae is True; supported: False"),
        ({"module_name": "mlp"}, "module_name is 'mlp'; supported: 'resid'"),
        ({"d_in": 7}, "d_in says 7 but the weights have 6"),
    ],
)
def test_what_is_not_supported_is_refused(tmp_path: Path, changes: dict[str, object], expected: str) -> None:
    path = tmp_path / "sae.pt"
    torch.save({"cfg": {**CONFIG, **changes}, "state_dict": STATE}, path)
    with pytest.raises(CheckpointError) as caught:
        source_of(path)
    assert str(path) in str(caught.value)
    assert expected in str(caught.value)
