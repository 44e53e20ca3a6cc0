"""`demo-images`, `train-clip` and `train-sae`: draw the procedural world and train models on images."""

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
    InitChoice,
    Model,
    parse_layers,
)
from scopeview.signals import RESUMES_FROM_CHECKPOINT, STARTS_OVER, if_stopped


@if_stopped(STARTS_OVER)
def demo_images(
    out: Annotated[Path, typer.Argument(help="Folder for the WebDataset tars.")],
    n: Annotated[int, typer.Argument(metavar="N", min=1, help="Number of scenes.")],
    seed: Annotated[int, typer.Option(min=0, help="Seed of the run.")] = 0,
    kinds: Annotated[
        str | None,
        typer.Option(help="Kinds of objects, for example heart,boat. Default: all.", show_default=False),
    ] = None,
) -> None:
    """Draw N scenes of the procedural world, with captions and ground truth, as WebDataset."""
    from indexer.world import check_kinds, write_world
    from scopeview.progress import task

    chosen = None if kinds is None else check_kinds(kinds.split(","))
    with task("draw", n, "scenes") as progress:
        write_world(out, n, seed, kinds=chosen, progress=progress.advance)


@if_stopped(RESUMES_FROM_CHECKPOINT)
def train_clip(
    out: Annotated[Path, typer.Option(help="Model folder; an unfinished run is resumed.")],
    images: Annotated[int, typer.Option(min=1, help="Scenes to train on, each drawn once.")] = 200_000,
    steps: Annotated[
        int | None,
        typer.Option(min=1, help="Training length in steps, instead of --images.", show_default=False),
    ] = None,
    width: Annotated[int, typer.Option(help="Width of the vision tower.")] = 192,
    blocks: Annotated[int, typer.Option(help="Blocks of the vision tower.")] = 8,
    heads: Annotated[int, typer.Option(help="Attention heads of the vision tower.")] = 6,
    text_width: Annotated[int, typer.Option(help="Width of the text encoder.")] = 128,
    text_blocks: Annotated[int, typer.Option(help="Blocks of the text encoder.")] = 3,
    text_heads: Annotated[int, typer.Option(help="Attention heads of the text encoder.")] = 4,
    projection: Annotated[int, typer.Option(help="Width of the joint image and text embedding.")] = 128,
    batch_size: Annotated[int, typer.Option(help="Images per step.")] = 128,
    lr: Annotated[
        float,
        typer.Option(
            help="Peak learning rate (AdamW) of all but the blocks' matrices; decays linearly at the end."
        ),
    ] = 5e-4,
    muon_lr: Annotated[float, typer.Option(help="Peak learning rate (Muon) of the blocks' matrices.")] = 0.01,
    warmup: Annotated[float, typer.Option(help="Fraction of the steps spent on warm-up.")] = 0.02,
    plateau: Annotated[
        float, typer.Option(help="Fraction of the steps after which the learning rates start to decay.")
    ] = 0.7,
    weight_decay: Annotated[float, typer.Option(min=0, help="Weight decay of the blocks' matrices.")] = 0.05,
    window: Annotated[
        int, typer.Option(help="Side, in patches, of the window around one object that most steps train on.")
    ] = 8,
    full_scene_every: Annotated[int, typer.Option(help="Every N-th step trains on full scenes.")] = 8,
    full_scene_tail: Annotated[
        float, typer.Option(help="Final fraction of the steps that train on full scenes only.")
    ] = 0.1,
    head_only_fraction: Annotated[
        float, typer.Option(help="First fraction of the steps, trained on the classification heads alone.")
    ] = 0.4,
    regions: Annotated[
        float,
        typer.Option(help="Weight of the contrastive loss between patches and the names of what they show."),
    ] = 0.5,
    concepts: Annotated[
        float,
        typer.Option(help="Weight of classifying images' concepts with a linear head, which is discarded."),
    ] = 1.0,
    subjects: Annotated[
        float, typer.Option(help="Weight of classifying what each patch belongs to with a second head.")
    ] = 1.0,
    hard_negatives: Annotated[
        float, typer.Option(help="Fraction of a batch in groups that differ only in one kind or color.")
    ] = 0.2,
    brief_captions: Annotated[
        float, typer.Option(help="Fraction of captions that name one thing only, like search queries.")
    ] = 0.15,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the run.")] = 0,
    device: Device = "auto",
    dtype: Annotated[
        DtypeChoice, typer.Option(help="auto: bfloat16 where the hardware multiplies it faster.")
    ] = DtypeChoice.auto,
    workers: Annotated[
        int | None,
        typer.Option(
            min=0, help="Processes that draw scenes. Default: one per two cores.", show_default=False
        ),
    ] = None,
    checkpoint_every: Annotated[int, typer.Option(min=1, help="Steps between checkpoints.")] = 50,
    log_every: Annotated[int, typer.Option(min=1, help="Steps between log lines.")] = 10,
    resume: Annotated[bool, typer.Option("--resume", hidden=True)] = True,  # runs always resume
) -> None:
    """Train a small CLIP on scenes of the procedural world, drawn on the fly."""
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
        matrix_lr=muon_lr,
        warmup=warmup,
        hold=plateau,
        weight_decay=weight_decay,
        window=window,
        whole_every=full_scene_every,
        whole_end=full_scene_tail,
        texts_from=head_only_fraction,
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
        f"loss {result['loss']}, {result['named']:.1%} of the last batch classified correctly"
    )


@if_stopped(RESUMES_FROM_CHECKPOINT)
def train_sae(
    source: Annotated[str, typer.Argument(help="Images, as for `index`; or world:SEED, drawn on the fly.")],
    model: Model,
    layers: Annotated[
        str, typer.Option(help="Layers, for example 11,22,embed; trained together in one pass.")
    ],
    features: Annotated[int, typer.Option(help="Features of each SAE.")],
    out: Annotated[Path, typer.Option(help="Folder of the SAEs; an unfinished run is resumed.")],
    architecture: Annotated[
        ArchitectureChoice, typer.Option(help="SAE architecture.")
    ] = ArchitectureChoice.topk,
    k: Annotated[
        int | None, typer.Option(help="topk: active features per token.", show_default=False)
    ] = None,
    l1: Annotated[
        float | None, typer.Option(help="relu: weight of the L1 penalty, for example 3.", show_default=False)
    ] = None,
    images: Annotated[
        int | None,
        typer.Option(help="Images to train on, not counting calibration images.", show_default=False),
    ] = None,
    steps: Annotated[
        int | None, typer.Option(help="Training length in steps, instead of --images.", show_default=False)
    ] = None,
    repeat: Annotated[bool, typer.Option("--repeat", help="Start over when the images run out.")] = False,
    batch_size: Annotated[
        int | None, typer.Option(help="Images per step, with all their tokens. Default: 16, or 64 on CUDA.")
    ] = None,
    buffer_images: Annotated[
        int | None,
        typer.Option(
            help="Images whose tokens are shuffled together. Default: 64 batches, up to 1 GB (8 GB on CUDA)."
        ),
    ] = None,
    lr: Annotated[
        float | None, typer.Option(help="Peak learning rate. Default: 2e-4 * sqrt(16384 / features).")
    ] = None,
    decay: Annotated[
        DecayChoice, typer.Option(help="How the learning rate decays to zero.")
    ] = DecayChoice.linear,
    warmup: Annotated[
        int | None,
        typer.Option(help="Warm-up steps. Default: 5 % of the steps, at most 500.", show_default=False),
    ] = None,
    dead_after_tokens: Annotated[
        int | None,
        typer.Option(
            help="A feature silent for so many tokens is dead. Default: 10 % of all, up to 10 million."
        ),
    ] = None,
    aux_k: Annotated[
        int | None,
        typer.Option(
            help="Dead features trained by the auxiliary loss; 0 turns it off. Default: half of d_in."
        ),
    ] = None,
    init: Annotated[
        InitChoice,
        typer.Option(
            help="Initial feature directions; 'tokens' takes those of the first images. Try it if many die."
        ),
    ] = InitChoice.random,
    calibration_images: Annotated[
        int, typer.Option(help="First images, held out for mean, std and the final metrics.")
    ] = 512,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the run.")] = 0,
    device: Device = "auto",
    dtype: Dtype = DtypeChoice.auto,
    checkpoint_every: Annotated[int, typer.Option(min=1, help="Steps between checkpoints.")] = 500,
    log_every: Annotated[int, typer.Option(min=1, help="Steps between log lines.")] = 50,
    resume: Annotated[bool, typer.Option("--resume", hidden=True)] = True,  # runs always resume
) -> None:
    """Train sparse autoencoders on a model's activations, streamed without caching them on disk."""
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
            dead_after=dead_after_tokens,
            aux_k=aux_k,
            start=init.value,
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
