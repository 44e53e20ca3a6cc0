"""`--engine ray`: encodes shards and builds slots on a Ray cluster, with the same code as on one machine.

Encode works shard by shard, build slot by slot. Ray Data keeps a pool of actors busy, each with its own model
on its own (whole or fractional) GPU, and retries the work of a lost worker on another one.
"""

import importlib.util
import logging
import pickle
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from indexer.build import BuildPlan, memory_bytes
from indexer.remote_worker import Answer, EncodeJob, ShardStage, build_slot_remote, part_names
from indexer.shard_writer import ShardMarker
from indexer.sources import Shard
from indexer.storage import Storage
from scopeview.errors import InputError, ScopeviewError
from scopeview.progress import task
from scopeview.slots import Slot

_RETRIES = 5
"""Retries of a shard or slot after a lost worker; limited, since the shard itself may kill workers."""
_NAMED = 5
Resources = Mapping[str, float]


@dataclass(frozen=True)
class RaySettings:
    """How to use a cluster. Ray reads its address from `RAY_ADDRESS`; without one it uses this machine."""

    n_workers: int | None = None  # None: as many as the cluster has room for
    gpus_per_worker: float = 0.0
    cpus_per_worker: float = 1.0

    def __post_init__(self) -> None:
        """Raises `InputError` for a share of GPUs that Ray does not support."""
        gpus = self.gpus_per_worker
        if gpus > 1 and gpus % 1:
            raise InputError(f"--gpus-per-worker is {gpus}; expected 1, 2... or a fraction of 1")


def encode_on_ray(
    job: EncodeJob,
    settings: RaySettings,
    index_dir: Path,
    done: Mapping[int, ShardMarker | None],
    limit: int | None,
) -> list[ShardMarker]:
    """Encodes the shards without a marker into `index_dir` and returns the markers of all shards."""
    ray = connect()
    markers = {number: marker for number, marker in done.items() if marker is not None}
    limits = shard_limits(job.shards, limit)
    todo = [{"number": number, "limit": limits[number]} for number in done if number not in markers]
    n_done = sum(marker.n_seen for marker in markers.values())

    def unfinished() -> list[str]:
        return [job.shards[number].name for number in done if number not in markers]

    with _translated_errors(ray, unfinished), task("encode", limit, "images", done=n_done) as progress:
        for number, marker in _encoded_shards(ray, job, settings, todo):
            job.storage.get(job.storage.shard_names(number), index_dir)
            markers[number] = marker
            progress.advance(marker.n_seen)
            if limit is None:
                progress.expect(sum(m.n_seen for m in markers.values()) * len(done) // len(markers))
    return [markers[number] for number in range(len(job.shards))]


def build_slots_on_ray(plan: BuildPlan, slots: Sequence[Slot], storage: Storage) -> Iterator[Slot]:
    """Builds the slots that have no parts yet, several at a time; yields each once its parts are here."""
    ray = connect()
    todo = [slot for slot in slots if not plan.part(slot, "features").exists()]
    yield from (slot for slot in slots if slot not in todo)
    # What DuckDB may take is set aside, so that a machine gets no more slots at once than it has memory for.
    memory = min(memory_bytes(plan), max(node.get("memory", 0) for node in _nodes(ray)))
    build = ray.remote(max_retries=_RETRIES, memory=memory or None)(build_slot_remote)
    waiting: dict[Any, Slot] = {}
    with _translated_errors(ray, lambda: [slot.name for slot in waiting.values()]):
        waiting |= {build.remote(plan, slot, storage): slot for slot in todo}
        while waiting:
            (done, *_), _ = ray.wait(list(waiting), num_returns=1)
            ray.get(done)
            slot = waiting.pop(done)
            storage.get(part_names(plan, slot), plan.index_dir)
            yield slot


def connect() -> Any:
    """Returns Ray, connected to the cluster named by `RAY_ADDRESS`, or to one of this machine alone."""
    if importlib.util.find_spec("ray") is None:
        raise InputError("--engine ray needs Ray: pip install 'scopeview[ray]'")
    import ray
    import ray.data

    if not ray.is_initialized():
        ray.init(log_to_driver=False, logging_level=logging.WARNING)
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False  # ours shows the images
    context.print_on_execution_start = False
    return ray


def workers_of(settings: RaySettings, nodes: Sequence[Resources], n_shards: int) -> int:
    """The number of workers to start. Raises `InputError` if no machine has room for one.

    Otherwise Ray would wait forever. An explicit number is not checked against the machines, since some may
    join later.
    """
    if settings.n_workers is not None:
        return min(settings.n_workers, n_shards)
    kind, share = ("GPU", settings.gpus_per_worker) if settings.gpus_per_worker else ("CPU", 1.0)
    if kind == "CPU":
        share = settings.cpus_per_worker
    room = sum(int(node.get(kind, 0) / share) for node in nodes)
    if room == 0:
        largest = max((node.get(kind, 0) for node in nodes), default=0)
        raise InputError(
            f"a worker needs {share:g} {kind}, and no machine of the cluster has more than {largest:g}; give"
            " workers less (--gpus-per-worker; 0: none), or --workers N where machines are yet to join"
        )
    spare = 1 if kind == "CPU" else 0  # Ray Data's own tasks need a processor, too
    return max(1, min(n_shards, room - spare))


def _encoded_shards(
    ray: Any, job: EncodeJob, settings: RaySettings, todo: Sequence[dict[str, int]]
) -> Iterator[tuple[int, ShardMarker]]:
    """Yields shards as workers finish them. The job is sent once, whatever the number of workers."""
    if not todo:
        return
    nodes = _nodes(ray)
    n_workers = workers_of(settings, nodes, len(todo))
    n_cores = sum(node.get("CPU", 0) for node in nodes)
    shared_out = replace(job, n_decoders=max(1, int(n_cores / n_workers)))
    encoded = ray.data.from_items(list(todo), override_num_blocks=len(todo)).map_batches(
        ShardStage,
        fn_constructor_args=(shared_out,),
        batch_size=1,
        batch_format="pyarrow",
        # One shard at a time each: none waits for a busy worker while another has nothing to do.
        compute=ray.data.ActorPoolStrategy(size=n_workers, max_tasks_in_flight_per_actor=1),
        num_gpus=settings.gpus_per_worker or None,
        num_cpus=None if settings.gpus_per_worker else settings.cpus_per_worker,
        max_task_retries=_RETRIES,
    )
    for row in encoded.iter_rows():
        answer: Answer = pickle.loads(row["answer"])  # of a worker of ours
        if isinstance(answer, Exception):
            raise answer
        yield int(row["number"]), answer


def _nodes(ray: Any) -> list[Resources]:
    """The resources of each machine of the cluster."""
    return [node["Resources"] for node in ray.nodes() if node["Alive"]]


@contextmanager
def _translated_errors(ray: Any, unfinished: Callable[[], Sequence[str]]) -> Iterator[None]:
    """Raises a worker's own error as on one machine, and a `ScopeviewError` for lost workers."""
    try:
        yield
    except ray.exceptions.RayTaskError as error:
        if isinstance(error.cause, ScopeviewError | OSError):
            raise error.cause from error
        raise
    except ray.exceptions.RayError as error:
        said, left = str(error).strip().splitlines()[0], unfinished()
        named = ", ".join(left[:_NAMED]) + (f" and {len(left) - _NAMED} more" if left[_NAMED:] else "")
        raise ScopeviewError(
            f"the Ray cluster lost its workers ({said}): gave up after {_RETRIES + 1} lost workers."
            f" Unfinished: {named}. Finished parts are kept: run the same command again to resume"
        ) from error


def shard_limits(shards: Sequence[Shard], limit: int | None) -> list[int]:
    """How many samples to read from each shard (-1: all). A limit requires counting the shards first."""
    if limit is None:
        return [-1] * len(shards)
    left, found = limit, list[int]()
    for shard in shards:
        found.append(left)
        left -= min(left, sum(1 for _ in shard.samples())) if left else 0
    return found
