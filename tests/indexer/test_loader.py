"""Batches: full, of one shard each, in order; and what runs ahead of the one who asks."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from indexer.loader import BatchLoader, prefetch
from indexer.prepare import Blocked, Prepared, Preparer
from indexer.shard_writer import ImageEntry
from indexer.sources import BadSample, Sample, Shard, open_source
from scopeview.errors import BadReason
from scopeview.vision.preprocess import Preprocessing
from tests.indexer.tiny import write_source
from tests.models import preprocessor_config


class Listed:
    """A shard of so many samples; each third one is bad."""

    name = "listed"

    def __init__(self, n: int) -> None:
        self.n = n

    def fingerprint(self) -> str:
        return ""

    def samples(self) -> Iterator[Sample | BadSample]:
        for i in range(self.n):
            yield BadSample(str(i), BadReason.EMPTY, "") if i % 3 == 2 else Sample(str(i), b"x")


def prepare(sample: Sample | BadSample) -> tuple[Sample | BadSample | Blocked, Prepared | None]:
    if isinstance(sample, BadSample):
        return sample, None
    entry = ImageEntry(sample.key, None, None, None, 1, 1, "", None, None)
    return sample, Prepared(entry, np.full((3, 2, 2), int(sample.key), np.uint8), b"thumb")


@pytest.fixture
def feeder() -> Iterator[BatchLoader]:
    made = BatchLoader(prepare, 4)
    yield made
    made.close()


@pytest.mark.parametrize("n", [0, 1, 5, 6, 7, 12, 30])
def test_batches_hold_every_image_once_and_the_last_says_so(feeder: BatchLoader, n: int) -> None:
    shard: Shard = Listed(n)
    batches = list(feeder.batches(3, shard, None))
    keys = [entry.key for batch in batches for entry in batch.entries]
    assert keys == [str(i) for i in range(n) if i % 3 != 2]
    assert [bad.key for batch in batches for bad in batch.bad] == [str(i) for i in range(n) if i % 3 == 2]
    assert sum(batch.n_seen for batch in batches) == n
    assert [batch.is_last for batch in batches] == [False] * (len(batches) - 1) + [True]
    assert all(len(batch.entries) == 4 for batch in batches[:-1])
    for batch in batches:
        if batch.entries:
            assert batch.crops is not None
            assert batch.crops.shape == (4, 3, 2, 2)  # filled up with black
            shown = [int(entry.key) for entry in batch.entries] + [0] * (4 - len(batch.entries))
            assert batch.crops[:, 0, 0, 0].tolist() == shown
        else:
            assert batch.crops is None


def test_processes_give_the_same_batches_as_threads(tmp_path: Path) -> None:
    source = write_source(tmp_path / "source")
    preprocessing = Preprocessing.from_config(preprocessor_config(32))
    made = [
        BatchLoader(Preparer(preprocessing, 16), 4, n_workers=2, processes=processes)
        for processes in (False, True)
    ]
    (shard, *_) = open_source(source).shards
    threads, processes = (list(feeder.batches(0, shard, None)) for feeder in made)
    for feeder in made:
        feeder.close()
    assert made[1].watch.seconds()["decode"] > 0
    for one, other in zip(threads, processes, strict=True):
        assert (one.entries, one.thumbs, one.bad, one.n_seen) == (
            other.entries,
            other.thumbs,
            other.bad,
            other.n_seen,
        )
        assert one.crops is not None
        assert other.crops is not None
        assert torch.equal(one.crops, other.crops)


def test_a_limit_counts_samples_good_or_bad(feeder: BatchLoader) -> None:
    batches = list(feeder.batches(0, Listed(30), 7))
    assert sum(batch.n_seen for batch in batches) == 7


def test_what_runs_ahead_keeps_the_order_and_its_distance() -> None:
    made = list[int]()

    def items() -> Iterator[int]:
        for i in range(20):
            made.append(i)
            yield i

    taken = list[int]()
    for item in prefetch(items(), 3):
        taken.append(item)
        assert len(made) <= len(taken) + 3
    assert taken == list(range(20))


def test_an_error_comes_at_its_place() -> None:
    def items() -> Iterator[int]:
        yield 1
        raise FileNotFoundError("gone")

    found = prefetch(items(), 2)
    assert next(found) == 1
    with pytest.raises(FileNotFoundError, match="gone"):
        next(found)
