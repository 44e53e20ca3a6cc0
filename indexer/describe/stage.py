"""The stage itself: every piece of the work that is missing, slot by slot, then the database of them."""

from collections.abc import Callable
from pathlib import Path

from indexer.describe.cofiring import sampling_interval
from indexer.describe.parquet_parts import layers_with_any, write_database
from indexer.describe.plan import DescribePlan
from indexer.describe.rows import write_rows
from indexer.describe.stages import DescribeStages
from scopeview.progress import Task, task
from scopeview.slots import Slot
from scopeview.store.files import image_vectors
from scopeview.store.manifest import DescribeRecord
from scopeview.store.reader import IndexReader

_SLOT_STEPS = 4  # tops, names, map, neighbours
_OTHER_STEPS = 3  # images, words, the database


def describe(plan: DescribePlan) -> DescribeRecord:
    """Makes the database of descriptions, the vectors and the rows beside it, unless they are there."""
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


def _write_rows(plan: DescribePlan, record: DescribeRecord) -> None:
    """From both databases: an index that was described by an earlier version lacks them too."""
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
    for token in plan.tokens:  # slots of one token are compared with each other
        for slot in plan.at_token(token):
            _name_and_compare(plan, work, slot, once)
    write_database(plan)
    progress.advance()


def _name_and_compare(
    plan: DescribePlan, work: DescribeStages, slot: Slot, once: Callable[[Path, Callable[[], None]], None]
) -> None:
    once(plan.slot_part(slot, "names"), lambda: work.write_names(slot))
    once(plan.slot_part(slot, "map"), lambda: work.write_map(slot))
    once(plan.slot_part(slot, "neighbors"), lambda: work.write_neighbors(slot))
