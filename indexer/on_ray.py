"""`--engine ray`: shards and slots worked off on a Ray cluster, by the same code that works them off here.

A shard is the unit of encode, a slot that of build. Ray Data keeps a pool of actors busy, each with its own
model on its own (whole or fractional) GPU, and gives what a lost worker had begun to another one.
"""

import importlib.util
import json
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import pyarrow as pa

from indexer.build import BuildPlan, build_slot, slot_parts
from indexer.encode import ShardEncoder, Work
from indexer.shard_output import ShardMarker, codes_file, parse_marker
from indexer.sources import Shard
from indexer.storage import Storage
from scopeview.blocklist import Rules
from scopeview.encoder import Encoder
from scopeview.errors import InputError
from scopeview.progress import Task, task
from scopeview.recipe import Dtype, pick_device, plan_recipe
from scopeview.sae import Normalization, Standardization
from scopeview.slots import Layer, Slot, Token
from scopeview.store.files import shard_dir


@dataclass(frozen=True)
class RaySettings:
    """How a cluster is used. The address comes from Ray's own `RAY_ADDRESS`; without one, this machine."""

    n_workers: int | None = None  # None: as many as the cluster has room for
    gpus_per_worker: float = 0.0
    cpus_per_worker: float = 1.0


@dataclass(frozen=True)
class EncodeJob:
    """All that a worker on another machine has to know."""

    shards: Sequence[Shard]
    storage: Storage
    model: str
    sae: str
    layers: Sequence[Layer]
    tokens: Sequence[Token]
    normalization: Mapping[Layer, Normalization]
    statistics: Mapping[Layer, Standardization]
    device: str  # as asked for: `auto` is what the worker finds
    dtype: Dtype
    thumb_px: int
    batch_size: int
    rules: Rules


class ShardStage:
    """One worker: loads the weights once, then encodes shards on its own disk and hands them over."""

    def __init__(self, job: EncodeJob) -> None:
        self._job = job
        planned = plan_recipe(job.model, job.sae, layers=job.layers, tokens=job.tokens)
        recipe = replace(planned, normalization=dict(job.normalization))
        clip = recipe.load_clip(device=pick_device(job.device), dtype=job.dtype)
        saes = recipe.normalized(recipe.load_saes(), job.statistics, clip.device)
        self._encoder = Encoder(clip, saes, recipe.tokens)

    def __call__(self, rows: pa.Table) -> pa.Table:
        """Columns `number` and `limit` (-1: none) in, `number` and `marker` (JSON) out."""
        numbers, limits = rows["number"].to_pylist(), rows["limit"].to_pylist()
        markers = [
            self.marker(number, None if limit < 0 else limit)
            for number, limit in zip(numbers, limits, strict=True)
        ]
        return pa.table({"number": numbers, "marker": [json.dumps(asdict(marker)) for marker in markers]})

    def marker(self, number: int, limit: int | None) -> ShardMarker:
        """Of the shard, encoded unless it is there: a worker may be lost after it has handed it over."""
        job = self._job
        found = job.storage.marker(number)
        if found is not None:
            return found
        with tempfile.TemporaryDirectory(prefix="scopeview-") as folder:
            index_dir = Path(folder)
            encoder = ShardEncoder(
                index_dir, self._encoder, thumb_px=job.thumb_px, batch_size=job.batch_size, rules=job.rules
            )
            work = iter([Work(number, job.shards[number], limit)])
            try:
                (marker,) = encoder.encode(work, Silent(), encoder.timing())
            finally:
                encoder.close()
            job.storage.put_shard(number, shard_dir(index_dir, number))
        return marker


def encode_on_ray(
    job: EncodeJob,
    settings: RaySettings,
    index_dir: Path,
    done: Mapping[int, ShardMarker | None],
    limit: int | None,
) -> list[ShardMarker]:
    """Every shard's marker, its folder in `index_dir`; those that have a marker already are left."""
    ray = connect()
    markers = {number: marker for number, marker in done.items() if marker is not None}
    limits = _limits(job.shards, limit)
    todo = [{"number": number, "limit": limits[number]} for number in done if number not in markers]
    with task("encode", limit, "images", done=sum(marker.n_seen for marker in markers.values())) as progress:
        for number, marker in _finished(ray, job, settings, todo):
            job.storage.get(job.storage.shard_names(number), index_dir)
            markers[number] = marker
            progress.advance(marker.n_seen)
            if limit is None:
                progress.expect(sum(m.n_seen for m in markers.values()) * len(done) // len(markers))
    return [markers[number] for number in range(len(job.shards))]


def build_slots_on_ray(plan: BuildPlan, slots: Sequence[Slot], storage: Storage) -> Iterator[Slot]:
    """Works out the slots that have no parts yet, several at a time; yields each once its parts are here."""
    ray = connect()
    todo = [slot for slot in slots if not plan.part(slot, "features").exists()]
    yield from (slot for slot in slots if slot not in todo)
    build = ray.remote(max_retries=3)(build_slot_elsewhere)
    waiting = {build.remote(plan, slot, storage): slot for slot in todo}
    while waiting:
        (done, *_), _ = ray.wait(list(waiting), num_returns=1)
        ray.get(done)
        slot = waiting.pop(done)
        storage.get(reversed(_part_names(plan, slot)), plan.index_dir)
        yield slot


def build_slot_elsewhere(plan: BuildPlan, slot: Slot, storage: Storage) -> None:
    """On a worker: fetches the slot's codes, works the slot out, hands over its parts."""
    with tempfile.TemporaryDirectory(prefix="scopeview-") as folder:
        there = replace(plan, index_dir=Path(folder))
        storage.get(
            (
                codes_file(shard.folder, slot).relative_to(there.index_dir).as_posix()
                for shard in there.shards
            ),
            there.index_dir,
        )
        build_slot(there, slot)
        # `features` last: a slot is there when that is.
        storage.put(reversed(_part_names(there, slot)), there.index_dir)


def connect() -> Any:
    """Ray, connected to the cluster that `RAY_ADDRESS` names or to one of this machine alone."""
    if importlib.util.find_spec("ray") is None:
        raise InputError("--engine ray needs Ray: pip install 'scopeview[ray]'")
    import ray
    import ray.data

    if not ray.is_initialized():
        ray.init(log_to_driver=False)
    ray.data.DataContext.get_current().enable_progress_bars = False
    return ray


def _finished(
    ray: Any, job: EncodeJob, settings: RaySettings, todo: Sequence[dict[str, int]]
) -> Iterator[tuple[int, ShardMarker]]:
    """As workers hand them over. The job travels once, whatever the number of workers."""
    if not todo:
        return
    room = int(ray.cluster_resources().get("GPU" if settings.gpus_per_worker else "CPU", 1))
    share = settings.gpus_per_worker or settings.cpus_per_worker
    spare = 0 if settings.gpus_per_worker else 1  # Ray Data's own tasks need a processor, too
    n_workers = settings.n_workers or max(1, min(len(todo), int(room / share) - spare))
    encoded = ray.data.from_items(list(todo), override_num_blocks=len(todo)).map_batches(
        ShardStage,
        fn_constructor_args=(job,),
        batch_size=1,
        batch_format="pyarrow",
        concurrency=n_workers,
        num_gpus=settings.gpus_per_worker or None,
        num_cpus=None if settings.gpus_per_worker else settings.cpus_per_worker,
    )
    for row in encoded.iter_rows():
        yield int(row["number"]), parse_marker(row["marker"])


def _limits(shards: Sequence[Shard], limit: int | None) -> list[int]:
    """Of each shard's samples how many are wanted (-1: all). Under a limit shards are counted first, here."""
    if limit is None:
        return [-1] * len(shards)
    left, found = limit, list[int]()
    for shard in shards:
        found.append(left)
        left -= min(left, sum(1 for _ in shard.samples())) if left else 0
    return found


def _part_names(plan: BuildPlan, slot: Slot) -> list[str]:
    return [path.relative_to(plan.index_dir).as_posix() for path in slot_parts(plan, slot)]


class Silent(Task):
    """A worker's progress is seen where the shards come in."""

    def advance(self, n: int = 1) -> None: ...

    def expect(self, total: int) -> None: ...

    def show(self, figures: Mapping[str, str]) -> None: ...

    def note(self, figures: Mapping[str, object]) -> None: ...
