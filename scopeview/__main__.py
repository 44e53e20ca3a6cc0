"""The command line: the only module that may reach both the indexer and the server, when a command asks.

Exit codes: 0 done, 1 the run failed, 2 wrong input or configuration, 3 too many bad images.
"""

import shlex
import sys
from collections.abc import Hashable
from enum import StrEnum
from pathlib import Path
from typing import Annotated, TypeVar

import typer

from scopeview.errors import InputError, ScopeviewError
from scopeview.slots import Layer, parse_layer, parse_token

cli = typer.Typer(
    name="scopeview",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="See what a vision transformer sees: index images by the features that sparse autoencoders find,"
    " and browse them.",
)
evaluate = typer.Typer(no_args_is_help=True, help="Measure models on scenes whose truth is known.")
cli.add_typer(evaluate, name="eval")

_Value = TypeVar("_Value", bound=Hashable)


class NormalizationChoice(StrEnum):
    none = "none"
    standardize = "standardize"


class DtypeChoice(StrEnum):
    auto = "auto"
    float32 = "float32"
    bfloat16 = "bfloat16"


class ArchitectureChoice(StrEnum):
    topk = "topk"
    relu = "relu"


class DecayChoice(StrEnum):
    linear = "linear"
    cosine = "cosine"
    none = "none"


class EncoderDevice(StrEnum):
    auto = "auto"
    cpu = "cpu"
    cuda = "cuda"
    off = "off"


Model = Annotated[str, typer.Option(help="CLIP: Hugging Face id (with @revision) or local folder.")]
Sae = Annotated[str, typer.Option(help="SAE suite: Hugging Face id (with @revision), folder or .pt file.")]
Layers = Annotated[
    str | None,
    typer.Option(help="Such as 11,22,embed. Default: every layer that the suite has.", show_default=False),
]
Tokens = Annotated[str, typer.Option(help="cls, a token number, any; with commas between.")]
Normalization = Annotated[
    NormalizationChoice | None,
    typer.Option(help="Of the SAEs' inputs. Default: as each SAE was trained.", show_default=False),
]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N.")]
Dtype = Annotated[DtypeChoice, typer.Option(help="auto: float32 on CPUs, bfloat16 on CUDA.")]
Port = Annotated[int, typer.Option(min=1, max=65535)]
Host = Annotated[str, typer.Option(help="Address to listen on.")]


@cli.command()
def index(
    source: Annotated[Path, typer.Argument(help="Folder of images, WebDataset tars or Parquet with images.")],
    model: Model,
    sae: Sae,
    out: Annotated[Path, typer.Option(help="Folder of the index; an unfinished one is resumed.")],
    layers: Layers = None,
    tokens: Tokens = "cls,137",
    normalization: Normalization = None,
    slug: Annotated[str | None, typer.Option(help="First URL segment. Default: the name of --out.")] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="Only the first N samples.")] = None,
    device: Device = "auto",
    dtype: Dtype = DtypeChoice.auto,
    batch_size: Annotated[int | None, typer.Option(min=1, help="Images a forward pass.")] = None,
    calibration_images: Annotated[
        int, typer.Option(min=1, help="Statistics and figures come from the first N images.")
    ] = 512,
    max_bad: Annotated[
        float, typer.Option(min=0, max=1, help="Share of bad images above which the run fails.")
    ] = 0.1,
    memory_limit: Annotated[str | None, typer.Option(help="For DuckDB, such as 8GB.")] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with an unfinished index (always so).")
    ] = True,
) -> None:
    """Run an image set through CLIP and its SAEs, and leave a browsable index behind."""
    assert resume
    from indexer.pipeline import IndexRequest, run_index
    from scopeview.info import print_info

    manifest = run_index(
        IndexRequest(
            source=source,
            model=model,
            sae=sae,
            out=out,
            layers=_layers(layers),
            tokens=_tokens(tokens),
            normalization=normalization.value if normalization else None,
            slug=slug,
            limit=limit,
            device=device,
            dtype=dtype.value,
            batch_size=batch_size,
            calibration_images=calibration_images,
            max_bad=max_bad,
            memory_limit=memory_limit,
        )
    )
    print_info(out, manifest)


@cli.command()
def calibrate(
    source: Annotated[Path, typer.Argument(help="Images to measure on: as for `index`.")],
    model: Model,
    sae: Sae,
    layers: Layers = None,
    device: Device = "auto",
    dtype: Dtype = DtypeChoice.auto,
    images: Annotated[int, typer.Option(min=1, help="How many images to measure on.")] = 512,
    batch_size: Annotated[int | None, typer.Option(min=1)] = None,
    json_output: Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")] = False,
) -> None:
    """Measure each SAE's reconstruction under both normalisations, beside the published figures."""
    from indexer.figures import compare_normalizations, print_comparisons

    found = compare_normalizations(
        source,
        model,
        sae,
        layers=_layers(layers),
        device=device,
        dtype=dtype.value,
        n_images=images,
        batch_size=batch_size,
    )
    print_comparisons(found, as_json=json_output)


@cli.command()
def verify(index_dir: Annotated[Path, typer.Argument(metavar="DIR", help="A finished index.")]) -> None:
    """Check that an index is whole and that its parts agree."""
    from indexer.verify import verify as find_problems

    problems = find_problems(index_dir)
    for problem in problems:
        typer.echo(problem)
    if problems:
        raise ScopeviewError(f"{index_dir}: {len(problems)} problems found")
    typer.echo(f"{index_dir}: whole, and its parts agree")


@cli.command()
def info(
    index_dir: Annotated[Path, typer.Argument(metavar="DIR", help="A finished index.")],
    json_output: Annotated[bool, typer.Option("--json", help="Print the manifest itself.")] = False,
) -> None:
    """Say what an index holds and what it was made with."""
    from scopeview.info import print_info
    from scopeview.store.manifest import read_manifest

    manifest = read_manifest(index_dir)
    if json_output:
        typer.echo(manifest.model_dump_json(indent=1))
    else:
        print_info(index_dir, manifest)


@cli.command()
def serve(
    index_dirs: Annotated[list[Path], typer.Argument(metavar="DIR...", help="One or more finished indexes.")],
    host: Host = "127.0.0.1",
    port: Port = 8000,
    uploads: Annotated[Path | None, typer.Option(help="Folder for uploaded pictures.")] = None,
    device: Annotated[EncoderDevice, typer.Option(help="For uploads.")] = EncoderDevice.auto,
) -> None:
    """Serve indexes as a web site."""
    from app.main import serve as serve_site

    serve_site(index_dirs, host=host, port=port, upload_dir=uploads, device=device.value)


@cli.command()
def demo(
    out: Annotated[Path, typer.Option(help="Where the demo's images, model and index are kept.")] = Path(
        "data"
    ),
    host: Host = "127.0.0.1",
    port: Port = 8000,
    images: Annotated[int, typer.Option(min=100, help="Scenes to draw and index.")] = 1200,
    build_only: Annotated[
        bool, typer.Option("--build-only", help="Make the index and do not serve it.")
    ] = False,
) -> None:
    """Draw a world of scenes, index it with the small built-in CLIP, and serve it."""
    from indexer.demo import build_demo

    index_dir = build_demo(out, n_images=images)
    if not build_only:
        serve([index_dir], host=host, port=port)


@cli.command()
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


@cli.command()
def train_clip(
    out: Annotated[Path, typer.Option(help="Folder of the model; an unfinished run is resumed.")],
    images: Annotated[int, typer.Option(min=1, help="Scenes to learn from, each drawn once.")] = 200_000,
    steps: Annotated[
        int | None, typer.Option(min=1, help="The same, in batches.", show_default=False)
    ] = None,
    width: Annotated[int, typer.Option(help="Of the vision tower.")] = 192,
    blocks: Annotated[int, typer.Option(help="Of the vision tower.")] = 8,
    heads: Annotated[int, typer.Option(help="Of the vision tower.")] = 3,
    text_width: Annotated[int, typer.Option()] = 128,
    text_blocks: Annotated[int, typer.Option()] = 3,
    text_heads: Annotated[int, typer.Option()] = 4,
    projection: Annotated[int, typer.Option(help="Width of the embeddings of images and texts.")] = 128,
    batch_size: Annotated[int, typer.Option(help="Images a step.")] = 128,
    lr: Annotated[float, typer.Option(help="Highest learning rate; it falls as a cosine.")] = 1e-3,
    warmup: Annotated[float, typer.Option(help="Share of the steps.")] = 0.04,
    weight_decay: Annotated[float, typer.Option(min=0)] = 0.05,
    patch_dropout: Annotated[float, typer.Option(help="Share of the patches not looked at.")] = 0.5,
    full_resolution: Annotated[float, typer.Option(help="Share of the steps, at the end, without it.")] = 0.1,
    hard_negatives: Annotated[
        float, typer.Option(help="Share of a batch that differs from the next in one kind or colour alone.")
    ] = 0.5,
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
        warmup=warmup,
        weight_decay=weight_decay,
        patch_dropout=patch_dropout,
        full_resolution=full_resolution,
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
        f"loss {result['loss']}, in-batch accuracy {result['accuracy']:.1%}"
    )


@evaluate.command(name="clip")
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
    from scopeview.recipe import pick_device

    print_figures(
        find_figures(model, seed=seed, n_images=images, device=pick_device(device)), as_json=json_output
    )


@cli.command()
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
            layers=tuple(_layers(layers) or ()),
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


@cli.callback(invoke_without_command=True)
def _version(version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False) -> None:
    from scopeview import __version__

    if version:
        typer.echo(__version__)
        raise typer.Exit


_INTERRUPTED = 130  # 128 + SIGINT, as shells have it
_STOPPED = "stopped; the same command goes on from here"


def main() -> None:
    """Runs the command line and ends the process with the error's exit code."""
    try:
        cli()
    except ScopeviewError as error:
        _fail(str(error), error.exit_code)
    except KeyboardInterrupt:
        _fail(_STOPPED, _INTERRUPTED)
    except SystemExit as ended:  # what typer makes of Ctrl-C, without a word
        if ended.code == _INTERRUPTED:
            _fail(_STOPPED, _INTERRUPTED)
        raise
    except OSError as error:
        _fail(f"{error.filename or 'the file system'}: {error.strerror or error}", 1)


def _fail(message: str, exit_code: int) -> None:
    typer.echo(f"scopeview: {message}", err=True)
    sys.exit(exit_code)


def _layers(text: str | None) -> list[Layer] | None:
    return (
        None
        if text is None
        else _distinct("--layers", [parse_layer(part.strip()) for part in text.split(",")])
    )


def _tokens(text: str) -> list[str]:
    return _distinct("--tokens", [parse_token(part.strip()) for part in text.split(",")])


def _distinct(option: str, values: list[_Value]) -> list[_Value]:
    if len(set(values)) != len(values):
        raise InputError(f"{option} names {', '.join(map(str, values))}: one of them twice")
    return values


if __name__ == "__main__":
    main()
