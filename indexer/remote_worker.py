"""The work of a worker on another machine: encodes a shard or builds a slot, with the same code as locally.

Knows the storage that all machines share, and nothing of the cluster that calls it.
"""

import pickle
import socket
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import pyarrow as pa

from indexer.batching import compile_if_cuda, find_batch_size
from indexer.build import BuildPlan, build_slot, slot_parts
from indexer.encode import ShardEncoder, ShardWork
from indexer.shard_writer import ShardMarker
from indexer.sources import Shard
from indexer.storage import Storage
from scopeview.blocklist import Rules
from scopeview.errors import ConfigMismatchError, ScopeviewError
from scopeview.images import Grey16
from scopeview.importers import NOTHING_STATED, Stated
from scopeview.model_spec import Dtype, Recipe, pick_device, plan_recipe
from scopeview.progress import NullTask
from scopeview.sae.forms import Normalization
from scopeview.sae.normalization import Standardization
from scopeview.slots import Layer, Slot, Token
from scopeview.store.files import codes_file, shard_dir
from scopeview.vision.encoder import Encoder

Answer = ShardMarker | ScopeviewError | OSError


@dataclass(frozen=True)
class EncodeJob:
    """Everything a worker on another machine needs to know."""

    shards: Sequence[Shard]
    storage: Storage
    model: str
    sae: str
    weights: Mapping[str, str]  # `weights_of` the recipe that the run was planned with
    layers: Sequence[Layer]
    tokens: Sequence[Token]
    normalization: Mapping[Layer, Normalization]
    statistics: Mapping[Layer, Standardization]
    device: str  # as asked for: `auto` is what the worker finds
    dtype: Dtype
    thumb_px: int
    batch_size: int | None  # None: what the worker's device takes
    rules: Rules
    grey_16_bit: Grey16
    stated: Stated = NOTHING_STATED  # what the SAEs' files do not say
    n_decoders: int | None = None  # of each worker; None: one a core


def weights_of(recipe: Recipe) -> dict[str, str]:
    """The sha256 of the model and of each layer's SAE, by name."""
    saes = {f"the SAE of layer {source.layer}": source.config.sha256 for source in recipe.suite.sources}
    return {"the model": recipe.model_sha256, **saes}


class ShardStage:
    """One worker: loads the weights once, then encodes shards on its own disk and hands them over."""

    def __init__(self, job: EncodeJob) -> None:
        """Loads nothing yet, so that a loading error becomes an answer, like an error in a shard."""
        self._job = job

    def __call__(self, rows: pa.Table) -> pa.Table:
        """Takes columns `number` and `limit` (-1: none); returns `number` and `answer`, pickled."""
        numbers, limits = rows["number"].to_pylist(), rows["limit"].to_pylist()
        answers = [
            self._answer(number, None if limit < 0 else limit)
            for number, limit in zip(numbers, limits, strict=True)
        ]
        return pa.table({"number": numbers, "answer": [pickle.dumps(answer) for answer in answers]})

    def _answer(self, number: int, limit: int | None) -> Answer:
        """The marker, or the error as a value: the cluster would wrap a raised error in its own."""
        try:
            return self.marker(number, limit)
        except (ScopeviewError, OSError) as error:
            return error

    def marker(self, number: int, limit: int | None) -> ShardMarker:
        """Encodes the shard unless it is stored already, as it may be after a worker was lost."""
        job = self._job
        found = job.storage.marker(number)
        if found is not None:
            return found
        work = iter([ShardWork(number, job.shards[number], limit)])
        encoder = self._encoder
        with tempfile.TemporaryDirectory(prefix="scopeview-") as folder:
            (marker,) = encoder.encode(Path(folder), work, NullTask(), encoder.timing())
            job.storage.put_shard(number, shard_dir(Path(folder), number))
        return marker

    @cached_property
    def _encoder(self) -> ShardEncoder:
        """The encoder. Raises `ConfigMismatchError` if this machine has other weights than the run."""
        job = self._job
        planned = plan_recipe(
            job.model,
            job.sae,
            layers=job.layers,
            tokens=job.tokens,
            stated=job.stated,
            force_model=True,  # decided where the run was begun, and the weights are compared
        )
        _check_weights(weights_of(planned), job)
        recipe = replace(planned, normalization=dict(job.normalization)).with_grey_16_bit(job.grey_16_bit)
        clip = recipe.load_clip(device=pick_device(job.device), dtype=job.dtype)
        encoder = Encoder(
            clip, recipe.normalized(recipe.load_saes(), job.statistics, clip.device), recipe.tokens
        )
        compile_if_cuda(encoder)
        return ShardEncoder(
            encoder,
            thumb_px=job.thumb_px,
            batch_size=job.batch_size or find_batch_size(encoder),
            rules=job.rules,
            n_decoders=job.n_decoders,
        )


def build_slot_remote(plan: BuildPlan, slot: Slot, storage: Storage) -> None:
    """Fetches the slot's codes, builds the slot and hands over its parts."""
    with tempfile.TemporaryDirectory(prefix="scopeview-") as folder:
        there = replace(plan, index_dir=Path(folder))
        codes = (codes_file(shard.folder, slot).relative_to(folder).as_posix() for shard in there.shards)
        storage.get(codes, there.index_dir)
        build_slot(there, slot)
        storage.put(part_names(there, slot), there.index_dir)


def part_names(plan: BuildPlan, slot: Slot) -> list[str]:
    """The names of a slot's parts, `features` last: once that exists, the slot is complete."""
    return [path.relative_to(plan.index_dir).as_posix() for path in reversed(slot_parts(plan, slot))]


def _check_weights(found: Mapping[str, str], job: EncodeJob) -> None:
    for name, sha256 in job.weights.items():
        if found.get(name) != sha256:
            raise ConfigMismatchError(
                f"{name} is another one on {socket.gethostname()} (sha256 {found.get(name, 'none')[:12]})"
                f" than where the run was begun ({sha256[:12]}): --model {job.model} and --sae {job.sae} must"
                " be the same on all machines"
            )
