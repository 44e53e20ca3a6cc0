"""The `eval` commands: measure models and features on scenes of the procedural world, of known content."""

from pathlib import Path
from typing import Annotated

import typer

from scopeview.cli.options import Device
from scopeview.signals import STARTS_OVER, if_stopped

WorldSeed = Annotated[int, typer.Option(min=0, help="Seed of the world that the index shows.")]
JsonFile = Annotated[
    Path | None,
    typer.Option(
        "--json", help="Also write the results to this JSON file.", show_default=False, dir_okay=False
    ),
]


@if_stopped(STARTS_OVER)
def evaluate_clip(
    model: Annotated[str, typer.Argument(metavar="DIR", help="Folder of a CLIP with its text encoder.")],
    seed: Annotated[int, typer.Option(min=0, help="Seed of the world to draw scenes from.")] = 1,
    images: Annotated[
        int, typer.Option(min=1, help="Scenes with one object, and as many with several.")
    ] = 1000,
    device: Device = "auto",
    json_output: Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")] = False,
) -> None:
    """Measure how well a CLIP names kinds, colours and backgrounds, and finds captions, in unseen scenes."""
    from indexer.training.clip_eval import evaluate_clip as evaluate
    from indexer.training.clip_eval import print_figures
    from scopeview.model_spec import pick_device

    print_figures(
        evaluate(model, seed=seed, n_images=images, device=pick_device(device)), as_json=json_output
    )


@if_stopped(STARTS_OVER)
def evaluate_features(
    index_dir: Annotated[Path, typer.Argument(metavar="DIR", help="A finished index of demo-images.")],
    seed: WorldSeed = 0,
    device: Device = "auto",
    controls: Annotated[
        bool,
        typer.Option(
            help="Compare with random directions and raw dimensions. Runs the model once on every image."
        ),
    ] = True,
    json_file: JsonFile = None,
    figure: Annotated[
        Path | None,
        typer.Option(
            help="Plot the shares by layer: .svg, .png or .pdf.", show_default=False, dir_okay=False
        ),
    ] = None,
) -> None:
    """Measure how many features match one concept, by the known content of their top scenes."""
    from indexer.evaluation import report
    from indexer.evaluation.features import evaluate_features as evaluate
    from indexer.evaluation.figure import check_figure, draw_figure
    from scopeview.store.files import write_json

    if figure is not None:
        check_figure(figure)
    result = evaluate(index_dir, seed=seed, device=device, with_controls=controls)
    for line in report.table(result):
        typer.echo(line)
    if json_file is not None:
        write_json(json_file, report.as_json(result))
    if figure is not None:
        draw_figure(result, figure)


@if_stopped(STARTS_OVER)
def evaluate_search(
    index_dir: Annotated[Path, typer.Argument(metavar="DIR", help="A described index of demo-images.")],
    seed: WorldSeed = 0,
    device: Device = "auto",
    controls: Annotated[bool, typer.Option(help="Compare with search by decoder rows.")] = True,
    json_file: JsonFile = None,
) -> None:
    """Measure how often the text of a concept finds a feature that matches it."""
    from indexer.evaluation.search import evaluate_search as evaluate
    from indexer.evaluation.search import search_table
    from scopeview.store.files import write_json

    result = evaluate(index_dir, seed=seed, device=device, with_controls=controls)
    for line in search_table(result):
        typer.echo(line)
    if json_file is not None:
        write_json(json_file, result.as_json())


@if_stopped(STARTS_OVER)
def evaluate_heat(
    index_dir: Annotated[Path, typer.Argument(metavar="DIR", help="A finished index of demo-images.")],
    seed: WorldSeed = 0,
    fresh_seed: Annotated[
        int, typer.Option(min=0, help="Seed of the world whose scenes are used for testing.")
    ] = 1,
    scenes: Annotated[int, typer.Option(min=1, help="Fresh scenes for heatmaps.")] = 1000,
    single: Annotated[
        int, typer.Option(min=1, help="Fresh scenes with one object, for feature groups.")
    ] = 200,
    device: Device = "auto",
    json_file: JsonFile = None,
) -> None:
    """Measure whether heatmaps peak on their object, and whether a scene's heaviest group matters."""
    from indexer.evaluation import heatmap_report
    from indexer.evaluation.heatmaps import evaluate_heat as evaluate
    from scopeview.store.files import write_json

    result = evaluate(
        index_dir, seed=seed, fresh_seed=fresh_seed, n_scenes=scenes, n_single=single, device=device
    )
    for line in heatmap_report.table(result):
        typer.echo(line)
    if json_file is not None:
        write_json(json_file, heatmap_report.as_json(result))
