"""`scopeview info`: the contents of an index, as a table for a terminal."""

import sys
from pathlib import Path

from rich.console import Console
from rich.table import Table

from scopeview.store.manifest import Manifest
from scopeview.store.reader import IndexReader


def results_console() -> Console:
    """A console for results on standard output: prints names unchanged, and cuts no cell short in a file."""
    return Console(markup=False, emoji=False, highlight=False, width=None if sys.stdout.isatty() else 200)


def print_info(index_dir: Path, manifest: Manifest) -> None:
    """Prints the manifest in a few lines, and for each slot how many of its features fire."""
    console = results_console()
    model = manifest.model
    console.print(f"{manifest.slug}  {index_dir}", style="bold")
    console.print(
        f"{manifest.n_images:,} images of {manifest.dataset} ({manifest.source_kind}), {manifest.created}"
    )
    console.print(f"model {model.ref}@{model.revision or 'local'}, {manifest.dtype} on {manifest.device}")
    if model.random_weights:
        console.print("its weights are random: nothing was trained")
    for record in manifest.layers:
        if record.trained_on and record.trained_on.match in ("uncertain", "different"):
            what = "was" if record.trained_on.match == "different" else "may have been"
            named = record.trained_on.name or f"sha256 {str(record.trained_on.sha256)[:12]}"
            console.print(f"layer {record.layer}: its SAE {what} trained on another model, {named}")
    for reason, count in manifest.skipped.items():
        console.print(f"left out: {count:,} {reason}")
    console.print(_described(manifest))
    console.print(_slots(index_dir, manifest))


def _described(manifest: Manifest) -> str:
    record = manifest.describe
    if record is None:
        return "not described: no names, neighbors or map; 'scopeview describe' makes them"
    if record.vocabulary is None:
        return f"described; features have no names: {record.without_names}"
    return f"described; names from {record.vocabulary.name}, {record.vocabulary.n_words:,} words"


def _slots(index_dir: Path, manifest: Manifest) -> Table:
    table = Table(
        "layer", "token", "features", "live", "active", "normalization", "explained variance", "SAE"
    )
    with IndexReader(index_dir) as reader:
        for slot in manifest.slots:
            summary, record = reader.summary(slot), manifest.layer(slot.layer)
            assert record is not None
            explained = f"{record.figures.explained_variance:.3f}" if record.figures else "not measured"
            counts = (f"{n:,}" for n in (summary.n_features, summary.n_live, summary.n_active))
            table.add_row(
                str(slot.layer), slot.token, *counts, record.normalization, explained, record.sae_file
            )
    return table
