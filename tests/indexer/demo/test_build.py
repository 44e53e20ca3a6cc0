"""Which index `scopeview demo` makes, and when it makes none."""

from pathlib import Path

import pytest

from indexer.demo import build
from indexer.pipeline import IndexRequest
from scopeview.store.files import MANIFEST


@pytest.fixture
def requests(monkeypatch: pytest.MonkeyPatch) -> list[IndexRequest]:
    """What the indexer is asked for; it makes nothing, and no scene is drawn."""
    asked = list[IndexRequest]()
    monkeypatch.setattr(build, "run_index", asked.append)
    monkeypatch.setattr(build, "_draw", lambda *_: None)
    return asked


def finish(out: Path) -> None:
    (out / "demo").mkdir()
    (out / "demo" / MANIFEST).write_text("{}")


def test_without_a_number_as_many_scenes_are_indexed_as_take_two_minutes(
    tmp_path: Path, requests: list[IndexRequest]
) -> None:
    assert build.build_demo(tmp_path) == tmp_path / "demo"
    (request,) = requests
    assert Path(request.source).name == f"procedural-world-{build.N_IMAGES}"


def test_a_finished_demo_is_taken_as_it_is(tmp_path: Path, requests: list[IndexRequest]) -> None:
    finish(tmp_path)
    assert build.build_demo(tmp_path) == tmp_path / "demo"
    assert requests == []


def test_a_number_is_what_the_demo_must_have(tmp_path: Path, requests: list[IndexRequest]) -> None:
    finish(tmp_path)
    build.build_demo(tmp_path, n_images=200)
    assert Path(requests[0].source).name == "procedural-world-200"
