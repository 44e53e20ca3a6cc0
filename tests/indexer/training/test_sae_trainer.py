"""`train-sae` in miniature: a tiny random CLIP, scenes drawn on the fly, two blocks and the embedding."""

import json
import os
import signal
import subprocess
import sys
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from indexer.training.checkpoint import RunFolder
from indexer.training.image_stream import open_stream
from indexer.training.log import read_log
from indexer.training.sae_config import TrainRequest
from indexer.training.sae_trainer import check_varied, train_saes
from scopeview.__main__ import cli
from scopeview.errors import ConfigMismatchError, InputError
from scopeview.importers import load_sae, read_suite
from scopeview.sae.autoencoder import Sae
from scopeview.sae.calibration import calibrate
from scopeview.sae.normalization import Standardization
from scopeview.slots import EMBED, Layer, Slot
from scopeview.vision.clip import Clip
from scopeview.vision.encoder import Encoder
from tests.models import save_random_clip

LAYERS: tuple[Layer, ...] = (0, 1, EMBED)
N_STEPS = 22


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("model")
    return save_random_clip(folder, image_px=32, width=16, n_layers=2, n_heads=2, projection_dim=8)


@pytest.fixture(scope="module")
def request_(model: Path, tmp_path_factory: pytest.TempPathFactory) -> TrainRequest:
    return TrainRequest(
        source="world:4",
        model=str(model),
        layers=LAYERS,
        out=tmp_path_factory.mktemp("run") / "saes",
        n_features=48,
        k=4,
        n_steps=N_STEPS,
        batch_size=4,
        buffer_images=16,
        lr=0.01,
        dead_after=400,
        calibration_images=48,
        device="cpu",
        checkpoint_every=3,
        log_every=1,
    )


@pytest.fixture(scope="module")
def result(request_: TrainRequest) -> dict[str, Any]:
    """The uninterrupted run that the tests below look at."""
    return train_saes(request_)


@pytest.fixture(scope="module")
def saes(request_: TrainRequest, result: dict[str, Any]) -> dict[Layer, Sae]:
    assert result
    return {source.layer: load_sae(source) for source in read_suite(str(request_.out)).sources}


def _weights(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.glob("*/sae.safetensors")
    }


def test_loss_falls_and_explained_variance_rises_at_every_layer(
    request_: TrainRequest, result: dict[str, Any]
) -> None:
    lines = read_log(request_.out / "log.jsonl")
    assert [line["step"] for line in lines] == list(range(N_STEPS))
    for layer in map(str, LAYERS):
        loss, rebuilt = (
            [line["layers"][layer][name] for line in lines] for name in ("loss", "explained_variance")
        )
        assert sum(loss[-4:]) < 0.9 * sum(loss[:4])
        assert sum(rebuilt[-4:]) > sum(rebuilt[:4])
        assert result["layers"][layer]["explained_variance"] > rebuilt[0]


def test_features_begin_at_tokens_where_that_is_asked_for(
    request_: TrainRequest, result: dict[str, Any], tmp_path: Path
) -> None:
    at_tokens = replace(request_, out=tmp_path / "saes", start="tokens")
    found = train_saes(at_tokens)
    random, tokens = (read_log(out / "log.jsonl")[0]["layers"] for out in (request_.out, at_tokens.out))
    for layer in map(str, LAYERS):
        assert tokens[layer]["loss"] != random[layer]["loss"]
        assert found["layers"][layer]["explained_variance"] > tokens[layer]["explained_variance"]
        settings = json.loads((at_tokens.out / layer / "cfg.json").read_bytes())["training"]["settings"]
        assert settings["start"] == "tokens"
    assert result["layers"].keys() == found["layers"].keys()


def test_the_saes_are_read_back_and_encode_images(request_: TrainRequest, saes: dict[Layer, Sae]) -> None:
    clip = Clip.load(request_.model)
    assert list(saes) == list(LAYERS)
    crops = islice(open_stream("world:9", clip.preprocessing, ahead=1).images(0), 2)
    encoded = Encoder(clip, saes, ["cls", "any"]).encode(np.stack([image.crop for image in crops]))
    assert encoded.finite.all()
    assert encoded.codes[Slot(EMBED, "cls")].lengths.tolist() == [4, 4]
    assert encoded.codes[Slot(1, "any")].lengths.min() > 4


def test_the_statistics_saved_are_those_of_calibration(
    request_: TrainRequest, saes: dict[Layer, Sae]
) -> None:
    clip = Clip.load(request_.model)
    images = islice(open_stream("world:4", clip.preprocessing, ahead=1).images(0), 48)
    pixels = torch.from_numpy(np.stack([image.crop for image in images]))
    expected = calibrate(torch.split(pixels, 4), clip, LAYERS).statistics
    for layer, sae in saes.items():
        found = sae.standardization
        assert found is not None
        assert torch.equal(found.mean, expected[layer].mean)
        assert torch.equal(found.std, expected[layer].std)
        assert found.n_tokens == expected[layer].n_tokens == 48 * (1 if layer == EMBED else 17)


def test_an_sae_says_where_it_comes_from(request_: TrainRequest, saes: dict[Layer, Sae]) -> None:
    config = json.loads((request_.out / "1" / "cfg.json").read_bytes())
    training = config["training"]
    assert config["model"]["sha256"] == Clip.load(request_.model).sha256
    assert (training["source"], training["seed"], training["command"]) == (
        "world:4",
        0,
        "scopeview train-sae",
    )
    assert (training["images"], training["tokens"]) == (N_STEPS * 4, N_STEPS * 4 * 17)
    assert set(training["figures"]) >= {"explained_variance", "mse", "l0", "dead"}
    assert len(saes) == 3


def test_a_finished_run_is_found_and_not_made_again(request_: TrainRequest, result: dict[str, Any]) -> None:
    before = (request_.out / "1" / "sae.safetensors").stat().st_mtime_ns
    assert train_saes(request_) == result
    assert (request_.out / "1" / "sae.safetensors").stat().st_mtime_ns == before


_KILLED = """
import os, signal, sys
from pathlib import Path
from indexer.training.checkpoint import RunFolder
from indexer.training.sae_config import TrainRequest
from indexer.training.sae_trainer import train_saes

left, save = [int(sys.argv[1])], RunFolder.save
def save_and_die(run, state):
    save(run, state)
    left[0] -= 1
    if left[0] == 0:
        os.kill(os.getpid(), signal.SIGKILL)
RunFolder.save = save_and_die
train_saes({request})
"""


@pytest.mark.slow
@pytest.mark.parametrize("n_checkpoints", [2])
def test_a_run_killed_after_a_checkpoint_ends_as_an_uninterrupted_one_bit_for_bit(
    request_: TrainRequest, result: dict[str, Any], tmp_path: Path, n_checkpoints: int
) -> None:
    killed = replace(request_, out=tmp_path / "saes")
    code = f"from pathlib import PosixPath\n{_KILLED.replace('{request}', repr(killed))}"
    folder = Path(__file__).parents[3]
    command = [sys.executable, "-c", code, str(n_checkpoints)]
    environment = {**os.environ, "OMP_NUM_THREADS": str(torch.get_num_threads())}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, check=False)
    assert done.returncode == -signal.SIGKILL, done.stderr.decode()
    state = RunFolder(killed.out).load()
    assert state is not None
    assert state["step"] == 3 * n_checkpoints
    resumed = train_saes(killed)
    assert resumed["layers"] == result["layers"]
    assert _weights(killed.out) == _weights(request_.out)
    assert read_log(killed.out / "log.jsonl") == read_log(request_.out / "log.jsonl")


def test_ctrl_c_pauses_and_the_same_command_goes_on(
    request_: TrainRequest, result: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from indexer.training.sae_state import Learner

    paused = replace(request_, out=tmp_path / "saes", checkpoint_every=1000)
    step, n_steps = Learner.step, [0]

    def interrupted(self: Learner, *args: Any, **kwargs: Any) -> Any:
        n_steps[0] += 1
        if n_steps[0] == 5 * len(LAYERS) - 1:  # in the middle of step 4
            os.kill(os.getpid(), signal.SIGINT)
        return step(self, *args, **kwargs)

    monkeypatch.setattr(Learner, "step", interrupted)
    with pytest.raises(KeyboardInterrupt):
        train_saes(paused)
    state = RunFolder(paused.out).load()
    assert state is not None
    assert state["step"] == 5
    assert train_saes(paused)["layers"] == result["layers"]
    assert _weights(paused.out) == _weights(request_.out)


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"k": 5}, "saes"),
        ({"seed": 1}, "seed"),
        ({"source": "world:5"}, "source"),
        ({"lr": 0.02}, "schedule"),
    ],
)
def test_another_configuration_is_refused_naming_the_field(
    request_: TrainRequest, result: dict[str, Any], changes: dict[str, Any], field: str
) -> None:
    assert result
    with pytest.raises(ConfigMismatchError, match=f"another {field}"):
        train_saes(replace(request_, **changes))


def test_relu_saes_are_trained_too(request_: TrainRequest, tmp_path: Path) -> None:
    relu = replace(
        request_, out=tmp_path / "saes", architecture="relu", k=None, l1=0.5, n_steps=6, layers=(1,)
    )
    train_saes(relu)
    (source,) = read_suite(str(relu.out)).sources
    assert (source.config.architecture, source.config.k) == ("relu", None)
    assert load_sae(source).enc_b is not None


def test_bfloat16_trains_as_well(request_: TrainRequest, tmp_path: Path) -> None:
    low = replace(request_, out=tmp_path / "saes", dtype="bfloat16", layers=(1,))
    train_saes(low)
    lines = read_log(low.out / "log.jsonl")
    loss = [line["layers"]["1"]["loss"] for line in lines]
    assert sum(loss[-4:]) < 0.9 * sum(loss[:4])


def test_a_layer_the_model_lacks_is_refused_before_anything_is_written(
    request_: TrainRequest, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match="layer 7 does not exist"):
        train_saes(replace(request_, layers=(7,), out=tmp_path / "saes"))
    assert not (tmp_path / "saes").exists()


def test_images_that_run_out_end_the_run(request_: TrainRequest, tmp_path: Path) -> None:
    from PIL import Image

    (tmp_path / "images").mkdir()
    for number in range(12):
        Image.new("RGB", (40, 40), (20 * number, 7, 7)).save(tmp_path / "images" / f"{number}.png")
    few = replace(
        request_,
        source=str(tmp_path / "images"),
        out=tmp_path / "saes",
        layers=(1,),
        calibration_images=8,
    )
    with pytest.raises(InputError, match="has 4 usable images after the 8 of calibration"):
        train_saes(few)
    repeated = replace(few, out=tmp_path / "again", repeat=True, n_steps=5)
    assert train_saes(repeated)["images"] == 20


def test_the_command_trains_and_prints_a_line_a_layer(model: Path, tmp_path: Path) -> None:
    arguments = ["train-sae", "world:1", "--model", str(model), "--layers", "1,embed", "--features", "32"]
    more = ["--k", "4", "--steps", "3", "--batch-size", "2", "--calibration-images", "4", "--device", "cpu"]
    done = CliRunner().invoke(cli, [*arguments, *more, "--out", str(tmp_path / "saes")])
    assert done.exit_code == 0, done.output
    assert "embed" in done.stdout
    assert read_suite(str(tmp_path / "saes")).layers == [1, EMBED]


@pytest.mark.parametrize("std", [0.0, float("nan")])
def test_a_dimension_that_never_varies_is_refused_before_training(std: float) -> None:
    varied = Standardization(torch.zeros(3), torch.ones(3), n_tokens=9)
    check_varied({1: varied})
    constant = replace(varied, std=torch.tensor([1.0, std, 1.0]))
    with pytest.raises(InputError, match="1 dimensions of layer embed, the first 1, are the same"):
        check_varied({1: varied, EMBED: constant})
