"""Whatever stops a run, the same command again ends with the index of a run that nothing stopped."""

import json
import random
import signal
from pathlib import Path

import duckdb
import pytest
from filelock import FileLock
from safetensors import safe_open

from scopeview.store.database import interruptible
from scopeview.store.files import LOCK, MANIFEST
from tests.command import Moment, calls_by_task, scopeview, scopeview_until
from tests.indexer.tiny import index_words, write_world

INDEXED = ["activations", "codes", "features", "images"]
DESCRIBED = ["features", "means", "neighbors", "places", "words"]
TASKS = ["calibrate", "encode", "build", "describe", "grids", "checksums"]
KILLS = [(task, which) for task in TASKS for which in range(4)]
"""Twenty moments, at random but the same each time: any call of any function of ours during a task."""
NAMED = [
    Moment(name, call)
    for name, call in {
        "indexer.run_config.write_sealed_json": 1,
        "indexer.calibrate._write_figures": 1,
        "indexer.shard_writer.ShardWriter.finish": 3,
        "indexer.shard_writer.sync_folder": 1,
        "indexer.build_sql.insert_slot": 4,
        "indexer.describe.stage.write_database": 1,
        "indexer.pipeline.write_manifest": 1,
        "indexer.pipeline._remove_build_files": 1,
    }.items()
]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_world(tmp_path_factory.mktemp("world"))


@pytest.fixture(scope="module")
def uninterrupted(world: Path) -> dict[str, object]:
    ended = scopeview_until(None, world / "log", *index_words(world, world / "uninterrupted"))
    assert ended.code == 0, ended.err
    return contents(world / "uninterrupted")


@pytest.fixture(scope="module")
def calls(world: Path) -> dict[str, tuple[int, int]]:
    return calls_by_task(world / "log", *index_words(world, world / "counted"))


@pytest.mark.slow
@pytest.mark.parametrize(("task", "which"), KILLS)
def test_a_run_killed_at_a_random_moment_is_finished_by_the_same_command(
    world: Path,
    uninterrupted: dict[str, object],
    calls: dict[str, tuple[int, int]],
    tmp_path: Path,
    task: str,
    which: int,
) -> None:
    moment = Moment("*", random.Random(f"{task} {which}").randint(*calls[task]))
    words = index_words(world, tmp_path / "index")
    # Threads take turns as they like: the last calls of a run are sometimes a few less.
    assert scopeview_until(moment, tmp_path / "log", *words).code in (-signal.SIGKILL, 0)
    ended = scopeview_until(None, tmp_path / "log", *words)
    assert ended.code == 0, ended.err
    assert contents(tmp_path / "index") == uninterrupted


def test_the_random_moments_are_spread_over_all_stages(calls: dict[str, tuple[int, int]]) -> None:
    assert list(calls) == TASKS
    assert all(end - start > 100 for start, end in calls.values())


@pytest.mark.slow
@pytest.mark.parametrize("moment", NAMED, ids=str)
def test_a_run_killed_at_this_moment_is_finished_by_the_same_command(
    world: Path, uninterrupted: dict[str, object], tmp_path: Path, moment: Moment
) -> None:
    words = index_words(world, tmp_path / "index")
    assert scopeview_until(moment, tmp_path / "log", *words).code == -signal.SIGKILL
    ended = scopeview_until(None, tmp_path / "log", *words)
    assert ended.code == 0, ended.err
    assert contents(tmp_path / "index") == uninterrupted


@pytest.mark.slow
def test_a_run_killed_again_and_again_at_its_writes_ends_all_the_same(
    world: Path, uninterrupted: dict[str, object], tmp_path: Path
) -> None:
    words = index_words(world, tmp_path / "index")
    codes = []
    for write in range(3, 400, 4):
        codes.append(scopeview_until(Moment(None, write), tmp_path / "log", *words).code)
        if codes[-1] == 0:
            break
    assert set(codes[:-1]) == {-signal.SIGKILL}
    assert len(codes) > 10
    assert codes[-1] == 0
    assert contents(tmp_path / "index") == uninterrupted


@pytest.mark.parametrize(("by", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)], ids=["int", "term"])
@pytest.mark.parametrize(
    "function",
    [
        "scopeview.vision.clip.Clip.residual_stream",
        pytest.param("indexer.shard_writer.ShardWriter.add", marks=pytest.mark.slow),
        pytest.param("indexer.build._copy", marks=pytest.mark.slow),
    ],
)
def test_ctrl_c_and_sigterm_end_with_their_codes_and_say_how_to_go_on(
    world: Path,
    uninterrupted: dict[str, object],
    tmp_path: Path,
    function: str,
    by: signal.Signals,
    code: int,
) -> None:
    words = index_words(world, tmp_path / "index")
    stopped = scopeview_until(Moment(function, 2, by), tmp_path / "log", *words)
    assert stopped.code == code
    assert not list((tmp_path / "index").rglob("*.part"))
    assert (
        stopped.err.splitlines()[-1] == "scopeview: stopped; run the same command again to resume from here"
    )
    assert "Traceback" not in stopped.err
    assert scopeview_until(None, tmp_path / "log", *words).code == 0
    assert contents(tmp_path / "index") == uninterrupted


def test_what_duckdb_raises_when_a_query_is_interrupted_is_ctrl_c() -> None:
    with pytest.raises(KeyboardInterrupt), interruptible():
        raise RuntimeError("Query interrupted")
    with pytest.raises(RuntimeError, match="else"), interruptible():
        raise RuntimeError("something else")


def test_a_finished_index_is_left_as_it_is(world: Path, uninterrupted: dict[str, object]) -> None:
    manifest = (world / "uninterrupted" / MANIFEST).read_bytes()
    assert scopeview(*index_words(world, world / "uninterrupted")).code == 0
    assert (world / "uninterrupted" / MANIFEST).read_bytes() == manifest
    assert contents(world / "uninterrupted") == uninterrupted


def test_a_second_writer_is_kept_out(world: Path, tmp_path: Path) -> None:
    (tmp_path / "index").mkdir()
    with FileLock(tmp_path / "index" / LOCK):
        ended = scopeview(*index_words(world, tmp_path / "index"))
    assert ended.code == 2
    assert ended.err == (
        f"scopeview: {tmp_path / 'index'} is being written by another run; wait for it, or choose another "
        "--out\n"
    )


def contents(index_dir: Path) -> dict[str, object]:
    """Every file by its path: bytes, but of the database its rows and of the manifest all but `created`."""
    files: dict[str, object] = {}
    for path in index_dir.rglob("*"):
        name = path.relative_to(index_dir).as_posix()
        if name == MANIFEST:
            manifest = json.loads(path.read_bytes())
            del manifest["created"], manifest["sha256"]
            # Their content is compared here; as bytes the same content may differ.
            manifest["files"] = {
                name: record
                for name, record in manifest["files"].items()
                if not name.endswith((".duckdb", ".safetensors"))
            }
            files[name] = manifest
        elif path.suffix == ".duckdb":
            files[name] = _tables(path)
        elif path.suffix == ".safetensors":
            files[name] = _tensors(path)
        elif path.is_file() and name != LOCK:
            files[name] = path.read_bytes()
    return files


def _tensors(path: Path) -> dict[str, object]:
    """The file's metadata are in no fixed order."""
    with safe_open(path, framework="numpy") as file:
        tensors = {name: file.get_tensor(name).tobytes() for name in file.keys()}  # noqa: SIM118
        return {"metadata": file.metadata(), **tensors}


def _tables(path: Path) -> dict[str, list[tuple[object, ...]]]:
    """All rows in the order they are stored."""
    with duckdb.connect(str(path), read_only=True) as connection:
        names = [name for (name,) in connection.execute("SHOW TABLES").fetchall()]
        assert sorted(names) == (DESCRIBED if path.name.startswith("described-") else INDEXED)
        return {name: connection.execute(f"SELECT * FROM {name}").fetchall() for name in names}
