"""`scopeview index` with Hugging Face ids, against a hub on loopback: fetched, pinned, cached, offline.

huggingface_hub reads its settings when it is imported, so commands run in processes of their own.
"""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.command import Ended
from tests.conftest import PROJECT_DIR
from tests.indexer.tiny import N_FEATURES, WIDTH, K, write_model, write_source
from tests.saes import save_random_clipscope
from tests.standin_hub import StandInHub, model_repo, suite_repo

MODEL, BARE, SUITE = "laion/a-clip", "someone/a-bare-clip", "someone/a-suite"
MODEL_FILES = {
    "config.json",
    "preprocessor_config.json",
    "model.safetensors",
    "tokenizer.json",
    "tokenizer_config.json",
}
LAYER_FILE = "2_resid/1200002184.pt"

# Runs one command after another, and says how each ended. Retries of a download pause for seconds; here they
# follow at once.
COMMANDS = """
import json, sys, time
time.sleep = lambda seconds: None
from tests.command import scopeview
for words in json.loads(sys.argv[1]):
    ended = scopeview(*words)
    print(json.dumps([ended.code, ended.out, ended.err]))
"""
UPLOAD = """
from pathlib import Path
import numpy as np
from scopeview.model_spec import load_encoder
encoder = load_encoder(Path("first"), device="cpu")
(codes,) = encoder.codes(np.zeros((1, 3, 32, 32), dtype=np.uint8))
print([(code.layer, code.token, len(code.features)) for code in codes])
"""


@dataclass
class Machine:
    """One with an empty cache, and the hub it can reach."""

    hub: StandInHub
    folder: Path

    def run(self, *commands: list[str], offline: bool = False) -> list[Ended]:
        lines = self.python(COMMANDS, json.dumps(commands), offline=offline).splitlines()
        return [Ended(*json.loads(line)) for line in lines]

    def python(self, script: str, *words: str, offline: bool = False) -> str:
        kept = {key: value for key, value in os.environ.items() if not key.startswith("HF_")}
        hub = {
            "HF_HOME": str(self.folder / "home"),
            "HF_ENDPOINT": self.hub.url,
            "HF_HUB_OFFLINE": str(int(offline)),
            "HF_HUB_DISABLE_TELEMETRY": "1",
            "NO_PROXY": "127.0.0.1",
            "PYTHONPATH": str(PROJECT_DIR),
        }
        done = subprocess.run(
            [sys.executable, "-c", script, *words],
            cwd=self.folder,
            env=kept | hub,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    def manifest(self, out: str) -> dict[str, Any]:
        found: dict[str, Any] = json.loads((self.folder / out / "manifest.json").read_text())
        return found


def index(out: str, *options: str, model: str = MODEL) -> list[str]:
    """The command for layer 2 of the suite, unless the options say otherwise."""
    words = ["index", "source", "--model", model, "--sae", SUITE, "--out", out]
    return [*words, "--layers", "2", "--tokens", "cls", "--batch-size", "6", *options]


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StandInHub]:
    folder = tmp_path_factory.mktemp("repositories")
    model = write_model(folder / "model")
    sae = save_random_clipscope(folder / "suite", layer=2, d_in=WIDTH, n_features=N_FEATURES, k=K)
    bare = model_repo(model)
    del bare.files["preprocessor_config.json"]
    suite = suite_repo({2: sae.read_bytes()})
    with StandInHub({MODEL: model_repo(model), BARE: bare, SUITE: suite}) as standin:
        yield standin


@pytest.fixture(scope="module")
def indexed(hub: StandInHub, tmp_path_factory: pytest.TempPathFactory) -> Machine:
    """A machine that has indexed once, with the model pinned by its tag and the suite at `main`."""
    machine = Machine(hub, tmp_path_factory.mktemp("machine"))
    write_source(machine.folder / "source")
    (ended,) = machine.run(index("first", model=f"{MODEL}@v1"))
    assert ended.code == 0, ended.err
    return machine


@pytest.fixture
def fresh(hub: StandInHub, tmp_path: Path) -> Iterator[Machine]:
    write_source(tmp_path / "source")
    yield Machine(hub, tmp_path)
    hub.cut_at, hub.n_cuts = None, 0


def test_only_the_layer_asked_for_is_fetched(indexed: Machine) -> None:
    assert indexed.hub.downloaded() == {*MODEL_FILES, LAYER_FILE}


def test_the_manifest_says_which_commits_were_used(indexed: Machine) -> None:
    manifest, (layer,) = indexed.manifest("first"), indexed.manifest("first")["layers"]
    repos = indexed.hub.repos
    assert (manifest["model"]["ref"], manifest["model"]["revision"]) == (MODEL, repos[MODEL].commit)
    assert (layer["sae"], layer["sae_revision"]) == (SUITE, repos[SUITE].commit)
    assert (layer["sae_file"], layer["normalization"]) == (LAYER_FILE, "standardize")


@pytest.mark.slow
def test_offline_the_cache_is_enough_for_another_index_and_for_uploads(indexed: Machine) -> None:
    indexed.hub.requests.clear()
    second = index("second", "--slug", "first", model=f"{MODEL}@v1")
    printed = indexed.python(f"{COMMANDS}\n{UPLOAD}", json.dumps([second]), offline=True).splitlines()
    ended = Ended(*json.loads(printed[0]))
    assert ended.code == 0, ended.err
    # Two databases of one content differ in bytes, and so in their checksums.
    of_this_run = {"created": "", "files": None, "sha256": ""}
    assert indexed.manifest("second") | of_this_run == indexed.manifest("first") | of_this_run
    assert printed[1] == f"[(2, 'cls', {K})]"
    assert indexed.hub.requests == []


@pytest.mark.slow
def test_offline_with_an_empty_cache_gives_the_command_that_fills_it(fresh: Machine) -> None:
    (ended,) = fresh.run(index("out"), offline=True)
    refused(ended, 2, "HF_HUB_OFFLINE", f"hf download {MODEL}")


def test_what_the_hub_does_not_have_is_refused(fresh: Machine) -> None:
    revision, layer, file = fresh.run(
        index("out", model=f"{MODEL}@v9"), index("out", "--layers", "1"), index("out", model=BARE)
    )
    refused(revision, 2, MODEL, "no revision 'v9'", "main, v1")
    refused(layer, 2, SUITE, "1_resid/*.pt", "11_resid")
    refused(file, 2, "no preprocessor_config.json")
    assert not (fresh.folder / "out").exists()


@pytest.mark.slow
def test_a_broken_transfer_fails_and_the_same_command_finishes(fresh: Machine) -> None:
    fresh.hub.cut_at, fresh.hub.n_cuts = 0, 100
    (broken,) = fresh.run(index("out"))
    refused(broken, 1, "broke off", "Run the same command again")
    fresh.hub.n_cuts = 0
    (finished,) = fresh.run(index("out"))
    assert finished.code == 0, finished.err


def refused(ended: Ended, code: int, *parts: str) -> None:
    """This exit code, and a message of one line with every part in it."""
    assert ended.code == code, ended.err
    message = ended.err[ended.err.index("scopeview: ") :]
    assert message.count("\n") == 1
    for part in parts:
        assert part in message
