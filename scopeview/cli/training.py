"""`demo-images`, `train-clip`, `train-sae` and `eval`: the procedural world, and models trained on images."""

import shlex
import sys
from pathlib import Path
from typing import Annotated

import typer

from scopeview.cli.options import (
    ArchitectureChoice,
    DecayChoice,
    Device,
    Dtype,
    DtypeChoice,
    Model,
    StartChoice,
    parse_layers,
)
from scopeview.signals import BEGINS_AGAIN, GOES_ON_FROM_SAVE, if_stopped

WorldSeed = Annotated[int, typer.Option(min=0, help="Of the world that the index shows.")]
JsonFile = Annotated[
    Path | None,
    typer.Option("--json", help="Write the figures there too.", show_default=False, dir_okay=False),
]


@if_stopped(BEGINS_AGAIN)
def demo_images(
    out: Annotated[Path, typer.Argument(help="Folder for the WebDataset tars.")],
    n: Annotated[int, typer.Argument(metavar="N", min=1, help="How many scenes.")],
    seed: Annotated[int, typer.Option(min=0)] = 0,
    kinds: Annotated[
        str | None, typer.Option(help="Such as heart,boat. Default: all there are.", show_default=False)
    ] = None,
) -> None:
    """Draw N scenes of the procedural world, with captions and ground truth, as WebDataset."""
    from indexer.world import check_kinds, write_world
    from scopeview.progress import task

    chosen = None if kinds is None else check_kinds(kinds.split(","))
    with task("draw", n, "scenes") as progress:
        write_world(out, n, seed, kinds=chosen, progress=progress.advance)


@if_stopped(GOES_ON_FROM_SAVE)
def train_clip(
    out: Annotated[Path, typer.Option(help="Folder of the model; an unfinished run is resumed.")],
    images: Annotated[int, typer.Option(min=1, help="Scenes to learn from, each drawn once.")] = 200_000,
    steps: Annotated[
        int | None, typer.Option(min=1, help="The same, in batches.", show_default=False)
    ] = None,
    width: Annotated[int, typer.Option(help="Of the vision tower.")] = 192,
    blocks: Annotated[int, typer.Option(help="Of the vision tower.")] = 8,
    heads: Annotated[int, typer.Option(help="Of the vision tower.")] = 6,
    text_width: Annotated[int, typer.Option()] = 128,
    text_blocks: Annotated[int, typer.Option()] = 3,
    text_heads: Annotated[int, typer.Option()] = 4,
    projection: Annotated[int, typer.Option(help="Width of the embeddings of images and texts.")] = 128,
    batch_size: Annotated[int, typer.Option(help="Images a step.")] = 128,
    lr: Annotated[
        float,
        typer.Option(
            help="Highest learning rate, of all but the blocks' matrices; it falls in a line at last."
        ),
    ] = 5e-4,
    matrix_lr: Annotated[
        float, typer.Option(help="The same of the blocks' matrices, turned by Muon.")
    ] = 0.01,
    warmup: Annotated[float, typer.Option(help="Share of the steps.")] = 0.02,
    hold: Annotated[float, typer.Option(help="Share of the steps before the learning rates fall.")] = 0.7,
    weight_decay: Annotated[float, typer.Option(min=0)] = 0.05,
    window: Annotated[
        int, typer.Option(help="Patches a side that most steps see of a scene, which then shows one thing.")
    ] = 8,
    whole_every: Annotated[int, typer.Option(help="Of so many steps one sees scenes whole.")] = 8,
    whole_end: Annotated[float, typer.Option(help="Share of the steps, at the end, that all do.")] = 0.1,
    texts_from: Annotated[
        float, typer.Option(help="Share of the steps, at first, in which images learn from heads alone.")
    ] = 0.4,
    regions: Annotated[
        float, typer.Option(help="Weight of the contrast between patches and names of what they show.")
    ] = 0.5,
    concepts: Annotated[
        float, typer.Option(help="Weight of naming images' concepts by a linear head, which is not kept.")
    ] = 1.0,
    subjects: Annotated[
        float, typer.Option(help="Weight of naming what patches are a part of by another.")
    ] = 1.0,
    hard_negatives: Annotated[
        float, typer.Option(help="Share of a batch that differs from the next in one kind or colour alone.")
    ] = 0.2,
    brief_captions: Annotated[
        float, typer.Option(help="Share of the captions that say one thing alone, as searches do.")
    ] = 0.15,
    seed: Annotated[int, typer.Option(min=0)] = 0,
    device: Device = "auto",
    dtype: Annotated[
        DtypeChoice, typer.Option(help="auto: bfloat16 where it is multiplied faster.")
    ] = DtypeChoice.auto,
    workers: Annotated[
        int | None,
        typer.Option(min=0, help="Processes that draw scenes. Default: one a two cores.", show_default=False),
    ] = None,
    checkpoint_every: Annotated[int, typer.Option(min=1, help="Steps.")] = 50,
    log_every: Annotated[int, typer.Option(min=1, help="Steps.")] = 10,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with an unfinished run (always so).")
    ] = True,
) -> None:
    """Train a small CLIP on the procedural world, drawn as it learns."""
    assert resume
    from indexer.training.clip_config import ClipRequest, ClipSettings
    from indexer.training.clip_trainer import train_clip as train

    settings = ClipSettings(
        n_images=images if steps is None else steps * batch_size,
        width=width,
        blocks=blocks,
        heads=heads,
        text_width=text_width,
        text_blocks=text_blocks,
        text_heads=text_heads,
        projection=projection,
        batch_size=batch_size,
        lr=lr,
        matrix_lr=matrix_lr,
        warmup=warmup,
        hold=hold,
        weight_decay=weight_decay,
        window=window,
        whole_every=whole_every,
        whole_end=whole_end,
        texts_from=texts_from,
        regions=regions,
        concepts=concepts,
        subjects=subjects,
        hard_negatives=hard_negatives,
        brief_captions=brief_captions,
        seed=seed,
    )
    result = train(
        ClipRequest(
            out,
            settings,
            device=device,
            dtype=dtype.value,
            workers=workers,
            checkpoint_every=checkpoint_every,
            log_every=log_every,
            command=shlex.join(["scopeview", *sys.argv[1:]]),
        )
    )
    typer.echo(
        f"{out}: {result['n_parameters']:,} parameters, {result['n_images']:,} images, "
        f"loss {result['loss']}, of the last batch {result['named']:.1%} named right"
    )


@if_stopped(BEGINS_AGAIN)
def evaluate_clip(
    model: Annotated[str, typer.Argument(metavar="DIR", help="Folder of a CLIP with its text tower.")],
    seed: Annotated[int, typer.Option(min=0, help="Of the world to look at.")] = 1,
    images: Annotated[int, typer.Option(min=1, help="Scenes with one thing; as many with several.")] = 1000,
    device: Device = "auto",
    json_output: Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")] = False,
) -> None:
    """How well a CLIP names kinds, colours and backgrounds, and finds captions, in scenes it never saw."""
    from indexer.training.clip_eval import evaluate_clip as find_figures
    from indexer.training.clip_eval import print_figures
    from scopeview.model_spec import pick_device

    print_figures(
        find_figures(model, seed=seed, n_images=images, device=pick_device(device)), as_json=json_output
    )


@if_stopped(BEGINS_AGAIN)
def evaluate_features(
    index_dir: Annotated[Path, typer.Argument(metavar="DIR", help="A finished index of demo-images.")],
    seed: WorldSeed = 0,
    device: Device = "auto",
    controls: Annotated[
        bool,
        typer.Option(help="Beside random directions and raw dimensions: the images go through once more."),
    ] = True,
    json_file: JsonFile = None,
    figure: Annotated[
        Path | None,
        typer.Option(
            help="Draw the shares by layer: .svg, .png or .pdf.", show_default=False, dir_okay=False
        ),
    ] = None,
) -> None:
    """How many features stand for one thing, by the truth of the scenes that they fire on most."""
    from indexer.evaluation import report
    from indexer.evaluation.features import evaluate_features as find_figures
    from indexer.evaluation.figure import check_figure, draw_figure
    from scopeview.store.files import write_json

    if figure is not None:
        check_figure(figure)
    found = find_figures(index_dir, seed=seed, device=device, with_controls=controls)
    for line in report.table(found):
        typer.echo(line)
    if json_file is not None:
        write_json(json_file, report.as_json(found))
    if figure is not None:
        draw_figure(found, figure)


@if_stopped(BEGINS_AGAIN)
def evaluate_search(
    index_dir: Annotated[Path, typer.Argument(metavar="DIR", help="A described index of demo-images.")],
    seed: WorldSeed = 0,
    device: Device = "auto",
    controls: Annotated[bool, typer.Option(help="Beside search by decoder rows.")] = True,
    json_file: JsonFile = None,
) -> None:
    """How often the text of a concept finds a feature that stands for it, by the truth of its scenes."""
    from indexer.evaluation.search import evaluate_search as find_figures
    from indexer.evaluation.search import search_table
    from scopeview.store.files import write_json

    found = find_figures(index_dir, seed=seed, device=device, with_controls=controls)
    for line in search_table(found):
        typer.echo(line)
    if json_file is not None:
        write_json(json_file, found.as_json())


@if_stopped(GOES_ON_FROM_SAVE)
def train_sae(
    source: Annotated[str, typer.Argument(help="Images, as for `index`; or world:SEED, drawn on the fly.")],
    model: Model,
    layers: Annotated[str, typer.Option(help="Such as 11,22,embed: all in one pass over the images.")],
    features: Annotated[int, typer.Option(help="Width of each SAE.")],
    out: Annotated[Path, typer.Option(help="Folder of the SAEs; an unfinished run is resumed.")],
    architecture: Annotated[ArchitectureChoice, typer.Option()] = ArchitectureChoice.topk,
    k: Annotated[int | None, typer.Option(help="topk: features kept a token.", show_default=False)] = None,
    l1: Annotated[
        float | None, typer.Option(help="relu: weight of the L1 penalty, such as 3.", show_default=False)
    ] = None,
    images: Annotated[
        int | None,
        typer.Option(help="How many to train on, beyond those of calibration.", show_default=False),
    ] = None,
    steps: Annotated[int | None, typer.Option(help="The same, in batches.", show_default=False)] = None,
    repeat: Annotated[bool, typer.Option("--repeat", help="Go over the images again at their end.")] = False,
    batch_size: Annotated[
        int | None, typer.Option(help="Images a step, with all their tokens. Default: 16, CUDA 64.")
    ] = None,
    buffer_images: Annotated[
        int | None,
        typer.Option(
            help="Images whose tokens are shuffled together. Default: 64 batches, up to 1 GB (CUDA 8)."
        ),
    ] = None,
    lr: Annotated[
        float | None, typer.Option(help="Default: 2e-4 at 16,384 features, falling with their root.")
    ] = None,
    decay: Annotated[DecayChoice, typer.Option(help="Of the learning rate, to zero.")] = DecayChoice.linear,
    warmup: Annotated[
        int | None, typer.Option(help="Steps. Default: a twentieth, at most 500.", show_default=False)
    ] = None,
    dead_after: Annotated[
        int | None,
        typer.Option(help="Tokens of silence that make a feature dead. Default: a tenth, up to 10 million."),
    ] = None,
    aux_k: Annotated[
        int | None, typer.Option(help="Dead features revived at a time; 0: none. Default: half the width.")
    ] = None,
    start: Annotated[
        StartChoice,
        typer.Option(
            help="Directions features begin at; tokens: those of the first images. Try it if many die."
        ),
    ] = StartChoice.random,
    calibration_images: Annotated[
        int, typer.Option(help="Mean, std and final figures come from the first N images, not trained on.")
    ] = 512,
    seed: Annotated[int, typer.Option(min=0)] = 0,
    device: Device = "auto",
    dtype: Dtype = DtypeChoice.auto,
    checkpoint_every: Annotated[int, typer.Option(min=1, help="Steps.")] = 500,
    log_every: Annotated[int, typer.Option(min=1, help="Steps.")] = 50,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with an unfinished run (always so).")
    ] = True,
) -> None:
    """Train sparse autoencoders on a model's activations, streamed: nothing is cached on disk."""
    assert resume
    from indexer.training.sae_config import TrainRequest
    from indexer.training.sae_result import print_result
    from indexer.training.sae_trainer import train_saes

    result = train_saes(
        TrainRequest(
            source=source,
            model=model,
            layers=tuple(parse_layers(layers) or ()),
            out=out,
            n_features=features,
            architecture=architecture.value,
            k=k,
            l1=l1,
            n_images=images,
            n_steps=steps,
            batch_size=batch_size,
            buffer_images=buffer_images,
            repeat=repeat,
            lr=lr,
            decay=decay.value,
            warmup_steps=warmup,
            dead_after=dead_after,
            aux_k=aux_k,
            start=start.value,
            calibration_images=calibration_images,
            seed=seed,
            device=device,
            dtype=dtype.value,
            checkpoint_every=checkpoint_every,
            log_every=log_every,
            command=shlex.join(["scopeview", *sys.argv[1:]]),
        )
    )
    print_result(out, result)
