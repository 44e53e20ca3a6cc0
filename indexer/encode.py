"""Encode: the samples of one shard through CLIP and its SAEs, into one shard folder.

reader (the shard) -> worker threads (`prepare`) -> encoder -> writer (`shard_output`), a batch at a time.
"""

import os
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from itertools import islice
from pathlib import Path

import numpy as np
from jaxtyping import UInt8

from indexer.prepare import Prepared, Preparer, batched, ordered
from indexer.shard_output import ShardMarker, ShardWriter
from indexer.sources import BadSample, Sample, Shard
from scopeview.encoder import Encoded, Encoder
from scopeview.errors import BadReason
from scopeview.progress import Task, task


class ShardEncoder:
    """Encodes shard after shard with one encoder and one pool of decoding threads."""

    def __init__(self, index_dir: Path, encoder: Encoder, *, thumb_px: int, batch_size: int) -> None:
        self._index_dir = index_dir
        self._encoder = encoder
        self._batch_size = batch_size
        self._prepare = Preparer(encoder.clip.preprocessing, thumb_px)
        self._pool = ThreadPoolExecutor(max_workers=os.cpu_count(), thread_name_prefix="decode")

    def close(self) -> None:
        self._pool.shutdown(cancel_futures=True)

    def encode(self, number: int, shard: Shard, *, limit: int | None, progress: Task) -> ShardMarker:
        """Writes the folder of shard `number`, at most `limit` samples of it, and returns its marker."""
        bad: list[BadSample] = []
        notes: list[BadSample] = []
        n_seen = 0
        with ShardWriter(self._index_dir, number, self._encoder.slots) as writer:
            for batch in batched(self._prepared(shard, limit), self._batch_size):
                n_seen += len(batch)
                bad += [sample for sample, _ in batch if isinstance(sample, BadSample)]
                notes += [_note(sample) for sample, _ in batch if isinstance(sample, Sample) and sample.note]
                bad += self._write(writer, [prepared for _, prepared in batch if prepared is not None])
                progress.advance(len(batch))
            marker = ShardMarker(
                name=shard.name,
                fingerprint=shard.fingerprint(),
                n_seen=n_seen,
                n_images=writer.n_images,
                bad=[asdict(sample) for sample in bad],
                notes=[asdict(note) for note in notes],
            )
            writer.finish(marker, self._encoder.clip.info.projection_dim)
        return marker

    def _prepared(
        self, shard: Shard, limit: int | None
    ) -> Iterator[tuple[Sample | BadSample, Prepared | None]]:
        samples = islice(shard.samples(), limit)
        return ordered(self._pool, self._prepare, samples, ahead=2 * self._batch_size)

    def _encode(self, crops: list[UInt8[np.ndarray, "3 height width"]]) -> Encoded:
        """Always a full batch, filled up with black: matrix products round differently at other sizes, and
        an image's codes must not depend on which batch was its shard's last."""
        full = np.zeros((self._batch_size, *crops[0].shape), dtype=np.uint8)
        np.stack(crops, out=full[: len(crops)])
        return self._encoder.encode(full).first(len(crops))

    def _write(self, writer: ShardWriter, batch: list[Prepared]) -> list[BadSample]:
        """Encodes and appends the batch; returns the images whose activations were not finite."""
        if not batch:
            return []
        encoded = self._encode([prepared.crop for prepared in batch])
        if encoded.finite.all():
            writer.add([p.entry for p in batch], [p.thumb for p in batch], encoded)
            return []
        kept = [p for p, finite in zip(batch, encoded.finite, strict=True) if finite]
        lost = [p for p, finite in zip(batch, encoded.finite, strict=True) if not finite]
        detail = "NaN or infinite activations in this image"
        return [
            *self._write(writer, kept),
            *(BadSample(p.entry.key, BadReason.NON_FINITE, detail) for p in lost),
        ]


def encode_shards(
    encoder: ShardEncoder,
    shards: Sequence[Shard],
    done: Mapping[int, ShardMarker | None],
    *,
    limit: int | None,
) -> list[ShardMarker]:
    """Encodes the shards that have no marker, in order; `limit` counts samples over all of them."""
    markers: list[ShardMarker] = []
    n_done = sum(marker.n_seen for marker in done.values() if marker)
    with task("encode", limit, "images", done=n_done) as progress:
        for number, shard in enumerate(shards):
            n_before = sum(marker.n_seen for marker in markers)
            left = None if limit is None else limit - n_before
            markers.append(done[number] or encoder.encode(number, shard, limit=left, progress=progress))
            expected = (n_before + markers[-1].n_seen) * len(shards) // (number + 1)
            progress.expect(expected if limit is None else min(limit, expected))
    return markers


def _note(sample: Sample) -> BadSample:
    assert sample.note is not None
    return BadSample(sample.key, sample.note, "the image is used, without what could not be read")
