"""The describe stage: computes every missing part, slot by slot, then builds the database from all parts."""

import os
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from pathlib import Path

from indexer.describe.cofiring import sampling_interval
from indexer.describe.parquet_parts import layers_with_any, write_database
from indexer.describe.plan import DescribePlan
from indexer.describe.rows import write_rows
from indexer.describe.stages import DescribeStages
from scopeview.progress import Task, task
from scopeview.store.files import image_vectors
from scopeview.store.manifest import DescribeRecord
from scopeview.store.reader import IndexReader

_SLOT_STEPS = 4  # tops, names, map, neighbors
_OTHER_STEPS = 3  # images, words, the database


def describe(plan: DescribePlan) -> DescribeRecord:
    """Makes the database of descriptions, and the vectors and rows beside it, unless they exist."""
    with IndexReader(plan.index_dir, plan.undescribed) as reader:
        most = plan.settings.cofiring_products
        every = {token: sampling_interval(reader, token, most) for token in plan.tokens}
        if not plan.database.exists():
            steps = _SLOT_STEPS * len(plan.slots) + len(layers_with_any(plan)) + _OTHER_STEPS
            with task("describe", steps, "steps") as progress:
                _run_stages(plan, DescribeStages(plan, reader, every), progress)
    record = plan.record(every)
    _write_rows(plan, record)
    return record


@contextmanager
def _map_pool(stop: threading.Event) -> Iterator[ThreadPoolExecutor]:
    """A thread pool for maps: t-SNE is half of the work, on one core per slot. An error stops it."""
    pool = ThreadPoolExecutor(os.cpu_count(), "map")
    try:
        yield pool
    except BaseException:
        stop.set()
        raise
    finally:
        pool.shutdown(cancel_futures=True)


def _write_rows(plan: DescribePlan, record: DescribeRecord) -> None:
    """Writes the feature rows from both databases, also for an index that an older version described."""
    described = plan.manifest.model_copy(update={"describe": record, "files": None})
    with IndexReader(plan.index_dir, described) as reader:
        for slot in plan.slots:
            write_rows(reader, slot)


def _run_stages(plan: DescribePlan, work: DescribeStages, progress: Task) -> None:
    def once(path: Path, write: Callable[[], None]) -> None:
        if not path.exists():
            write()
        progress.advance()

    once(image_vectors(plan.index_dir), work.write_images)
    once(plan.part("words"), work.write_words)
    for slot in plan.slots:
        once(plan.slot_part(slot, "tops"), lambda at=slot: work.write_top_images(at))  # type: ignore[misc]
    for layer in layers_with_any(plan):
        once(plan.part(f"{layer}.places"), lambda at=layer: work.write_peak_positions(at))  # type: ignore[misc]
    maps: list[Future[None]] = []
    with _map_pool(work.stop_maps) as pool:
        for token in plan.tokens:  # slots of one token are compared with each other
            for slot in plan.at_token(token):
                once(plan.slot_part(slot, "names"), lambda at=slot: work.write_names(at))  # type: ignore[misc]
                if not plan.slot_part(slot, "map").exists():
                    maps.append(pool.submit(work.write_map, *work.active_vectors(slot), slot))
                once(plan.slot_part(slot, "neighbors"), lambda at=slot: work.write_neighbors(at))  # type: ignore[misc]
        progress.advance(len(plan.slots) - len(maps))
        for written in as_completed(maps):
            written.result()
            progress.advance()
    write_database(plan)
    progress.advance()
