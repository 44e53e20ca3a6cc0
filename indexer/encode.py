"""Encode: runs samples through CLIP and its SAEs, and writes one folder per shard.

reader and decoders (`loader`) -> device (`Encoder`) -> writer (`shard_writer`), each on threads of its own, a
batch at a time. The device receives the next batch before the results of the last one are read.
"""

import os
from collections import Counter, deque
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import asdict, dataclass, field
from pathlib import Path

from indexer.batching import Batcher
from indexer.loader import BatchLoader, ImageBatch, prefetch
from indexer.parts import count_unused_fields, count_used_fields
from indexer.prepare import Blocked, Preparer
from indexer.shard_writer import ShardMarker, ShardWriter
from indexer.sources import BadSample, Sample, Shard
from indexer.sources.sample import Parts
from indexer.timing import DECODE_WAIT, DEVICE, WRITE_WAIT, Timing
from scopeview.analysis.slot_codes import concatenate_batches
from scopeview.blocklist import Rules
from scopeview.errors import BadReason
from scopeview.malloc import keep_freed_memory
from scopeview.progress import Task, task
from scopeview.signals import deferred_stop
from scopeview.vision.encoder import Encoder, Started

_BATCHES_AHEAD = 2
_UNWRITTEN = 3


@dataclass(frozen=True)
class ShardWork:
    """A shard to encode, and how many of its samples to read (None: all)."""

    number: int
    shard: Shard
    limit: int | None = None


class ShardEncoder:
    """Encodes shards with one encoder, one pool of decoding threads and one writer."""

    def __init__(
        self,
        encoder: Encoder,
        *,
        thumb_px: int,
        batch_size: int,
        rules: Rules | None = None,
        n_decoders: int | None = None,
    ) -> None:
        """Images that match `rules` are left out. `n_decoders` counts threads; None: one per core."""
        keep_freed_memory()
        self.encoder = encoder
        prepare = Preparer(encoder.clip.preprocessing, thumb_px, rules)
        on_gpu = encoder.clip.device.type == "cuda"
        n_workers = n_decoders or os.cpu_count() or 1
        self._feeder = BatchLoader(prepare, batch_size, pin=on_gpu, n_workers=n_workers, processes=on_gpu)
        self._batch_size = batch_size

    def close(self) -> None:
        self._feeder.close()

    def timing(self) -> Timing:
        """The timing of everything encoded from now on."""
        return Timing(self.encoder.watch, self._feeder.watch)

    def encode(
        self, index_dir: Path, work: Iterator[ShardWork], progress: Task, timing: Timing
    ) -> Iterator[ShardMarker]:
        """Yields each shard's marker once its folder is complete in `index_dir`; removes an unfinished shard.

        Ctrl-C and SIGTERM take effect between two batches.
        """
        batcher = Batcher(self.encoder, self._batch_size, lambda what: progress.note({"encode": what}))
        with (
            deferred_stop() as stop,
            closing(prefetch(self._batches(work), _BATCHES_AHEAD)) as batches,  # type: ignore[type-var]
            _Writer(index_dir, self.encoder, timing) as writer,
        ):
            while True:
                with timing.host.span(DECODE_WAIT):
                    item = next(batches, None)
                if item is None:
                    break
                shard, batch = item
                started: list[Started] = []
                if batch.crops is not None:
                    with timing.host.span(DEVICE):
                        started = batcher.start(batch.crops)
                with timing.host.span(WRITE_WAIT):
                    yield from writer.write(shard, batch, started)
                progress.advance(batch.n_seen)
                timing.tick(progress, len(batch.entries))
                stop.stop_if_asked()
            yield from writer.finish()

    def _batches(self, work: Iterator[ShardWork]) -> Iterator[tuple[Shard, ImageBatch]]:
        for one in work:
            for batch in self._feeder.batches(one.number, one.shard, one.limit):
                yield one.shard, batch


@dataclass
class _OpenShard:
    """The shard being written."""

    writer: ShardWriter
    bad: list[BadSample] = field(default_factory=list)
    notes: list[BadSample] = field(default_factory=list)
    blocked: list[Blocked] = field(default_factory=list)
    parts: Counter[Parts] = field(default_factory=Counter)
    n_seen: int = 0


class _Writer:
    """Receives results from the device and writes them, a few batches behind, on its own thread."""

    def __init__(self, index_dir: Path, encoder: Encoder, timing: Timing) -> None:
        self._index_dir, self._encoder, self._timing = index_dir, encoder, timing
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="write")
        self._slots = ThreadPoolExecutor(min(len(encoder.slots), 8), thread_name_prefix="slot")
        self._pending: deque[Future[ShardMarker | None]] = deque()
        self._open: _OpenShard | None = None

    def __enter__(self) -> "_Writer":
        return self

    def __exit__(self, *_: object) -> None:
        """Removes an unfinished shard."""
        self._thread.shutdown(cancel_futures=True)
        if self._open is not None:
            self._open.writer.__exit__(KeyboardInterrupt, None, None)
        self._slots.shutdown()

    def write(self, shard: Shard, batch: ImageBatch, started: Sequence[Started]) -> Iterator[ShardMarker]:
        """Queues a batch, waiting only if the disk is far behind. Yields shards finished since."""
        self._pending.append(self._thread.submit(self._write, shard, batch, started))
        while self._pending and (len(self._pending) > _UNWRITTEN or self._pending[0].done()):
            yield from self._next()

    def finish(self) -> Iterator[ShardMarker]:
        while self._pending:
            yield from self._next()

    def _next(self) -> Iterator[ShardMarker]:
        marker = self._pending.popleft().result()
        if marker is not None:
            yield marker

    def _write(self, shard: Shard, batch: ImageBatch, started: Sequence[Started]) -> ShardMarker | None:
        with self._timing.host.span("write"):
            if self._open is None:
                writer = ShardWriter(self._index_dir, batch.shard, self._encoder.slots, self._slots)
                self._open = _OpenShard(writer.__enter__())
            at = self._open
            at.n_seen += batch.n_seen
            at.bad += batch.bad
            at.notes += batch.notes
            at.blocked += batch.blocked
            at.parts += batch.parts
            if started:
                at.bad += _add(at.writer, batch, started)
            return self._close(shard, at) if batch.is_last else None

    def _close(self, shard: Shard, at: _OpenShard) -> ShardMarker:
        marker = ShardMarker(
            name=shard.name,
            fingerprint=shard.fingerprint(),
            n_seen=at.n_seen,
            n_images=at.writer.n_images,
            bad=[asdict(sample) for sample in at.bad],
            notes=[asdict(note) for note in at.notes],
            blocked=[blocked._asdict() for blocked in at.blocked],
            taken=count_used_fields(at.parts),
            unused=count_unused_fields(at.parts),
        )
        at.writer.finish(marker, self._encoder.clip.info.projection_dim)
        self._open = None
        return marker


def encode_shards(
    index_dir: Path,
    encoder: ShardEncoder,
    shards: Sequence[Shard],
    done: Mapping[int, ShardMarker | None],
    *,
    limit: int | None,
) -> list[ShardMarker]:
    """Encodes the shards without a marker, in order; `limit` counts samples over all of them."""
    markers = {number: marker for number, marker in done.items() if marker is not None}
    todo = [number for number in range(len(shards)) if number not in markers]
    n_done = sum(marker.n_seen for marker in markers.values())
    timing = encoder.timing()
    with task("encode", limit, "images", done=n_done) as progress:
        found = encoder.encode(index_dir, _pending_shards(shards, markers, limit), progress, timing)
        for number, marker in zip(todo, found, strict=True):
            markers[number] = marker
            expected = sum(m.n_seen for m in markers.values()) * len(shards) // len(markers)
            progress.expect(expected if limit is None else min(limit, expected))
    timing.close()
    return [markers[number] for number in range(len(shards))]


def _pending_shards(
    shards: Sequence[Shard], markers: Mapping[int, ShardMarker], limit: int | None
) -> Iterator[ShardWork]:
    """Yields the shards without a marker. Under a limit, a shard waits for those before it."""
    left = limit
    for number, shard in enumerate(shards):
        seen = _CountingShard(shard)
        if number not in markers:
            yield ShardWork(number, seen, left)
        if left is not None:
            left = max(0, left - (markers[number].n_seen if number in markers else seen.n_read))


class _CountingShard:
    """A wrapper of a shard that counts samples as they are read."""

    def __init__(self, shard: Shard) -> None:
        self._shard, self.n_read = shard, 0

    @property
    def name(self) -> str:
        return self._shard.name

    def fingerprint(self) -> str:
        return self._shard.fingerprint()

    def samples(self) -> Iterator[Sample | BadSample]:
        self.n_read = 0
        for sample in self._shard.samples():
            self.n_read += 1
            yield sample


def _add(writer: ShardWriter, batch: ImageBatch, started: Sequence[Started]) -> list[BadSample]:
    """Appends the batch's images, and returns those left out because their activations are not finite."""
    encoded = concatenate_batches([piece.finish() for piece in started]).first(len(batch.entries))
    kept = encoded.finite
    rows = kept.nonzero()[0].tolist()
    found = encoded if kept.all() else encoded.only(kept)
    writer.add([batch.entries[row] for row in rows], [batch.thumbs[row] for row in rows], found)
    detail = "NaN or infinite activations in this image"
    lost = (~kept).nonzero()[0].tolist()
    return [BadSample(batch.entries[row].key, BadReason.NON_FINITE, detail) for row in lost]
