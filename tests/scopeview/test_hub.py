"""Downloads by id against a hub on loopback: what is fetched, what is cached, and what each failure says.

huggingface_hub reads its settings when it is imported, so every case runs in a process of its own.
"""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import huggingface_hub
import pytest

from scopeview.errors import RevisionError
from scopeview.hub import resolve
from tests.models import save_random_clip
from tests.standin_hub import StandInHub, model_repo, suite_repo

MODEL, SUITE = "laion/a-clip", "someone/a-suite"
MODEL_FILES = ("config.json", "preprocessor_config.json", "model.safetensors")

# Older transformers (5.17) want huggingface_hub 1, which works but does less.
needs_hub_2 = pytest.mark.skipif(
    int(huggingface_hub.__version__.split(".")[0]) < 2,
    reason="huggingface_hub 1 asks for pinned revisions again, and resumes only on a rerun",
)

# Retries pause for seconds; here they follow at once.
SCRIPT = """
import json, sys, time
time.sleep = lambda seconds: None
from scopeview.errors import ScopeviewError
from scopeview.hub import resolve
try:
    found = resolve(sys.argv[1], patterns=sys.argv[2:])
    print(json.dumps({"path": str(found.path), "repo_id": found.repo_id, "revision": found.revision}))
except ScopeviewError as error:
    print(json.dumps({"error": type(error).__name__, "message": str(error)}))
"""


@dataclass
class Session:
    """A machine with an empty cache, and the hub it talks to."""

    hub: StandInHub
    home: Path
    printed: str = ""

    def resolve(self, ref: str, *patterns: str, offline: bool = False) -> dict[str, str]:
        answer = self.python(SCRIPT, ref, *patterns, offline=offline)
        found: dict[str, str] = json.loads(answer)
        return found

    def python(self, script: str, *arguments: str, offline: bool = False) -> str:
        kept = {key: value for key, value in os.environ.items() if not key.startswith("HF_")}
        settings = {
            "HF_HOME": str(self.home),
            "HF_ENDPOINT": self.hub.url,
            "HF_HUB_OFFLINE": str(int(offline)),
        }
        done = subprocess.run(
            [sys.executable, "-c", script, *arguments],
            env=kept | settings | {"HF_HUB_DISABLE_TELEMETRY": "1", "NO_PROXY": "127.0.0.1"},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        self.printed = done.stderr
        return done.stdout


@pytest.fixture(scope="module")
def model_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_random_clip(tmp_path_factory.mktemp("model"))


@pytest.fixture
def session(model_folder: Path, tmp_path: Path) -> Iterator[Session]:
    with StandInHub({MODEL: model_repo(model_folder), SUITE: suite_repo()}) as hub:
        yield Session(hub, tmp_path / "home")


def test_an_existing_folder_wins_and_nothing_is_asked(tmp_path: Path) -> None:
    found = resolve(str(tmp_path), patterns=["*"])
    assert (found.path, found.repo_id, found.revision) == (tmp_path, None, None)


@pytest.mark.parametrize(
    "ref",
    [
        "",
        "no-such-folder",
        "../no/such/folder",
        "org/name@",
        "a/b@c d",
        "https://x/y",
        "a/b:",
        "a/b:../c",
        "a/b:/c",
    ],
)
def test_what_is_neither_folder_nor_id_says_what_would_be_accepted(ref: str) -> None:
    with pytest.raises(RevisionError, match="org/name@revision"):
        resolve(ref, patterns=["*"])


def test_a_model_is_fetched_by_id_without_the_weights_it_holds_twice(
    session: Session, model_folder: Path
) -> None:
    found = session.resolve(MODEL, *MODEL_FILES)
    assert found["revision"] == session.hub.repos[MODEL].commit
    assert session.hub.downloaded() == set(MODEL_FILES)
    assert session.printed == ""
    for name in MODEL_FILES:
        assert (Path(found["path"]) / name).read_bytes() == (model_folder / name).read_bytes()


def test_only_the_layers_asked_for_are_fetched_from_a_suite(session: Session) -> None:
    found = session.resolve(SUITE, "11_resid/*.pt", "22_resid/*.pt")
    assert session.hub.downloaded() == {"11_resid/1200011184.pt", "22_resid/1200022184.pt"}
    assert (Path(found["path"]) / "11_resid" / "1200011184.pt").read_bytes() == b"checkpoint of 11"


@pytest.mark.parametrize("revision", ["", "@v1"])
def test_a_part_of_a_repository_may_be_named(session: Session, revision: str) -> None:
    found = session.resolve(f"{SUITE}{revision}:11_resid", "*.pt")
    assert session.hub.downloaded() == {"11_resid/1200011184.pt"}
    assert [path.name for path in Path(found["path"]).iterdir()] == ["1200011184.pt"]
    file = session.resolve(f"{SUITE}{revision}:14_resid/1200014184.pt", "*.pt")
    assert Path(file["path"]).read_bytes() == b"checkpoint of 14"


@needs_hub_2
def test_a_pinned_revision_is_fetched_once_and_then_needs_no_request(session: Session) -> None:
    pinned = f"{MODEL}@{session.hub.repos[MODEL].commit}"
    first = session.resolve(pinned, *MODEL_FILES)
    session.hub.requests.clear()
    assert session.resolve(pinned, *MODEL_FILES) == first
    assert session.hub.requests == []
    assert session.resolve(pinned, *MODEL_FILES, offline=True) == first


def test_a_branch_or_tag_is_looked_up_but_not_fetched_again(session: Session) -> None:
    first = session.resolve(f"{MODEL}@v1", *MODEL_FILES)
    session.hub.requests.clear()
    assert session.resolve(f"{MODEL}@v1", *MODEL_FILES) == first
    assert session.hub.downloaded() == set()
    session.hub.requests.clear()
    assert session.resolve(f"{MODEL}@v1", *MODEL_FILES, offline=True) == first
    assert session.hub.requests == []


def test_offline_without_a_cached_copy_gives_the_command_that_fetches_it(session: Session) -> None:
    found = session.resolve(f"{MODEL}@v1", "config.json", "model*.safetensors", offline=True)
    assert found["error"] == "RevisionError"
    assert f"hf download {MODEL} --revision v1 --include config.json" in found["message"]
    assert session.hub.requests == []


@needs_hub_2
def test_offline_with_half_of_a_repository_says_so(session: Session) -> None:
    session.resolve(SUITE, "11_resid/*.pt")
    found = session.resolve(SUITE, "11_resid/*.pt", "22_resid/*.pt", offline=True)
    assert (found["error"], "HF_HUB_OFFLINE" in found["message"]) == ("RevisionError", True)


def test_an_unknown_repository_is_named(session: Session) -> None:
    found = session.resolve("nobody/nothing", "*")
    assert found["error"] == "RevisionError"
    assert "nobody/nothing is neither a local folder nor a repository" in found["message"]


def test_a_gated_repository_says_what_to_do(session: Session) -> None:
    session.hub.repos[MODEL].gated = True
    found = session.resolve(MODEL, "*")
    assert (found["error"], "HF_TOKEN" in found["message"]) == ("RevisionError", True)


@pytest.mark.parametrize("revision", ["v9", "0" * 40])
def test_a_wrong_revision_says_which_exist(session: Session, revision: str) -> None:
    found = session.resolve(f"{MODEL}@{revision}", "*")
    assert found["error"] == "RevisionError"
    assert f"no revision '{revision}'; it has main, v1" in found["message"]


def test_a_file_that_the_repository_lacks_says_what_it_has(session: Session) -> None:
    found = session.resolve(SUITE, "3_resid/*.pt")
    assert found["error"] == "RevisionError"
    assert "no file that matches 3_resid/*.pt; it has 11_resid/1200011184.pt" in found["message"]


@needs_hub_2
def test_a_connection_that_drops_once_is_taken_up_where_it_broke(
    session: Session, model_folder: Path
) -> None:
    session.hub.cut_at, session.hub.n_cuts = 5_000, 1
    found = session.resolve(MODEL, *MODEL_FILES)
    fetched = (Path(found["path"]) / "model.safetensors").read_bytes()
    assert fetched == (model_folder / "model.safetensors").read_bytes()
    assert (
        len([path for method, path in session.hub.requests if method == "GET" and "model.saf" in path]) == 2
    )


def test_a_transfer_that_keeps_breaking_is_an_error_and_a_rerun_finishes_it(
    session: Session, model_folder: Path
) -> None:
    session.hub.cut_at, session.hub.n_cuts = 0, 100
    broken = session.resolve(MODEL, *MODEL_FILES)
    assert broken["error"] == "TransferError"
    assert "Run the same command again" in broken["message"]
    session.hub.n_cuts = 0
    found = session.resolve(MODEL, *MODEL_FILES)
    fetched = (Path(found["path"]) / "model.safetensors").read_bytes()
    assert fetched == (model_folder / "model.safetensors").read_bytes()


def test_a_hub_that_is_down_is_a_transfer_error(session: Session) -> None:
    session.hub.status = 503
    found = session.resolve(MODEL, "config.json")
    assert found["error"] == "TransferError"
    assert "503" in found["message"]


def test_a_model_whose_weights_are_only_pickled_is_fetched_all_the_same(session: Session) -> None:
    files = session.hub.repos[MODEL].files
    files["pytorch_model.bin"] = files.pop("model.safetensors")
    script = (
        "import sys; from scopeview.vision.clip import resolve_model; print(resolve_model(sys.argv[1]).path)"
    )
    folder = Path(session.python(script, MODEL).strip())
    assert {path.name for path in folder.iterdir()} == {
        "config.json",
        "preprocessor_config.json",
        "pytorch_model.bin",
    }
    assert session.python(script, MODEL, offline=True).strip() == str(folder)
