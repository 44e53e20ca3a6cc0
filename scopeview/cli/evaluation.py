"""`eval heat`: what takes a picture apart, measured on scenes whose truth is known."""

from pathlib import Path
from typing import Annotated

import typer

from scopeview.cli.options import Device
from scopeview.cli.training import JsonFile, WorldSeed
from scopeview.signals import BEGINS_AGAIN, if_stopped


@if_stopped(BEGINS_AGAIN)
def evaluate_heat(
    index_dir: Annotated[Path, typer.Argument(metavar="DIR", help="A finished index of demo-images.")],
    seed: WorldSeed = 0,
    fresh_seed: Annotated[
        int, typer.Option(min=0, help="Of the world whose scenes heat and groups are tried on.")
    ] = 1,
    scenes: Annotated[int, typer.Option(min=1, help="Fresh scenes for heat.")] = 1000,
    single: Annotated[int, typer.Option(min=1, help="Fresh scenes with one thing, for groups.")] = 200,
    device: Device = "auto",
    json_file: JsonFile = None,
) -> None:
    """Whether heat peaks on the thing it is of, and whether a scene's heaviest group matters."""
    from indexer.evaluation import heatmap_report
    from indexer.evaluation.heatmaps import evaluate_heat as find_figures
    from scopeview.store.files import write_json

    found = find_figures(
        index_dir, seed=seed, fresh_seed=fresh_seed, n_scenes=scenes, n_single=single, device=device
    )
    for line in heatmap_report.table(found):
        typer.echo(line)
    if json_file is not None:
        write_json(json_file, heatmap_report.as_json(found))
