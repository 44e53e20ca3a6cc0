"""`scopeview describe`: a finished index is described, or described again with other words."""

import shutil
from pathlib import Path

from indexer.build import work_dir
from indexer.checksums import with_files
from indexer.describe.carry_over import take_over
from indexer.describe.plan import DescribePlan
from indexer.describe.stage import describe
from indexer.run_config import locked, note_vocabulary
from scopeview.model_spec import recipe_of
from scopeview.store.feature_rows import rows_dir
from scopeview.store.manifest import Manifest, read_manifest, write_manifest
from scopeview.vision.text import text_folder, text_problem
from scopeview.vision.vocabulary import read_vocabulary


def describe_index(index_dir: Path, vocabulary: Path | None = None) -> Manifest:
    """The new file first, then the manifest that names it, then the old file goes: killed, it stays readable.

    A server goes on with the old one until it is started again. Raises an `InputError` when the folder is no
    finished index, or its weights are no longer where they were, or are no longer the same.
    """
    words = read_vocabulary(vocabulary)
    recipe = recipe_of(index_dir, read_manifest(index_dir))
    without_names = text_problem(text_folder(recipe.model), words.words)
    with locked(index_dir):
        plan = DescribePlan(index_dir, read_manifest(index_dir), recipe, words, without_names)
        take_over(plan)
        described = plan.manifest.model_copy(update={"describe": describe(plan)})
        manifest = with_files(index_dir, described)
        write_manifest(index_dir, manifest)
        note_vocabulary(index_dir, words.sha256)
        remove_others(plan)
        return manifest


def remove_others(plan: DescribePlan) -> None:
    """What was described with other words, and what only the making of an index needs."""
    for path in plan.index_dir.glob("described-*.duckdb*"):
        if path != plan.database:
            path.unlink()
    rows = rows_dir(plan.index_dir, plan.database.name)
    for path in plan.index_dir.glob("rows-*/"):
        if path != rows:
            shutil.rmtree(path, ignore_errors=True)
    shutil.rmtree(work_dir(plan.index_dir), ignore_errors=True)
