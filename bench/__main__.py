"""`python -m bench NAME`: runs one benchmark."""

from pathlib import Path
from typing import Annotated

import typer

from bench.images import MADE, image_sets

cli = typer.Typer(no_args_is_help=True, help=__doc__)

ELSE_OURS = "else photographs of the corpus, drawn ones where it is not here."
Work = Annotated[Path, typer.Option(help="Where synthetic indexes are kept for the next run; about 12 GB.")]


@cli.command()
def real_input(
    sources: Annotated[list[str] | None, typer.Argument(help=f"Image sets; {ELSE_OURS}")] = None,
    dtype: Annotated[str, typer.Option(help="float32 or bfloat16.")] = "float32",
) -> None:
    """The main job at full size on real images (drawn ones where there are none)."""
    from bench.real_input import main

    if sources is None:
        sets = image_sets()
        sources = [str(sets.laion), str(sets.photos)]
    main(sources, dtype=dtype)


@cli.command()
def synthetic(
    out: Annotated[Path, typer.Argument(help="Folder of the index.")],
    images: Annotated[int, typer.Option(min=1)] = 500_000,
    layers: Annotated[str, typer.Option(help="Block numbers, with commas.")] = "2,5,8,11,14,17,20,22",
    features: Annotated[int, typer.Option(min=1, help="In each layer.")] = 65_536,
    k: Annotated[int, typer.Option(min=1, help="Features that a code keeps.")] = 32,
    tokens: Annotated[str, typer.Option(help="cls, any or token numbers, with commas.")] = "cls,137",
    own_grids: Annotated[
        bool, typer.Option("--own-grids", help="Sprites of each feature's own images: a core-hour a million.")
    ] = False,
) -> None:
    """A finished index of any size with random content: no model, no images."""
    from bench.synthetic.index import make
    from bench.synthetic.spec import Spec

    blocks = tuple(int(layer) for layer in layers.split(","))
    spec = Spec(images, blocks, tuple(tokens.split(",")), features, k, own_grids=own_grids)
    make(out, spec, slug=out.name)


@cli.command()
def build(
    pairs: Annotated[list[int] | None, typer.Argument(help="Sizes, in (feature, activation) pairs.")] = None,
    work: Work = MADE,
) -> None:
    """The build beside a bare sort, and point reads beside bare reads, at 25.6 and 256 million pairs."""
    from bench.build import main

    main(pairs or [25_600_000, 256_000_000], work)


@cli.command(hidden=True)
def build_alone(index_dir: Path, database: Path) -> None:
    """The part of `build` that is measured."""
    from bench.build import build_alone

    build_alone(index_dir, database)


@cli.command(hidden=True)
def sort_alone(index_dir: Path, database: Path) -> None:
    """The sort that `build` is compared with."""
    from bench.build import sort_alone

    sort_alone(index_dir, database)


@cli.command()
def serving(
    index_dir: Annotated[
        Path | None, typer.Argument(help="A finished index; else one of full size is made.")
    ] = None,
    seconds: Annotated[float, typer.Option(help="Of each kind of page.")] = 30,
    work: Work = MADE,
) -> None:
    """Pages at 50 requests a second on one core, and against Datasette."""
    from bench.build import FULL_PAIRS, folder_of, spec_of
    from bench.serving import main
    from bench.synthetic.index import make

    if index_dir is None:
        spec = spec_of(FULL_PAIRS)
        index_dir = folder_of(work, spec.n_images)
        make(index_dir, spec)
    main(index_dir, seconds=seconds)


@cli.command()
def plots(index_dir: Annotated[Path, typer.Argument(help="A finished index.")]) -> None:
    """Map and scatter of the layer with the most features, in Chromium."""
    from bench.plots import main

    main(index_dir)


@cli.command()
def uploads(
    index_dir: Annotated[
        Path | None, typer.Argument(help="A finished index whose model is at hand; none: full size alone.")
    ] = None,
    full: Annotated[
        bool, typer.Option(help="At full size, too: 10 GB of random weights are made in --work.")
    ] = True,
    images: Annotated[Path | None, typer.Option(help=f"What is sent; {ELSE_OURS}")] = None,
    work: Work = MADE,
) -> None:
    """Time from an upload to its page, and 200 uploads at once."""
    from bench import uploads as bench_uploads

    sets = image_sets()
    sent = images or sets.photos
    if index_dir is not None:
        bench_uploads.small(index_dir, sent)
    if full:
        bench_uploads.full(work / "uploads", sets.laion, sent)


@cli.command()
def attacks(
    index_dir: Annotated[Path, typer.Argument(help="A finished index whose model is at hand.")],
    seconds: Annotated[float, typer.Option(min=1, help="Of each attack.")] = 10,
    only: Annotated[str, typer.Option(help="Only attacks with this in their names.")] = "",
) -> None:
    """One client against another, on a server of our own."""
    from bench.attacks import main

    main(index_dir, seconds=seconds, only=only)


@cli.command()
def soak(
    index_dir: Annotated[Path, typer.Argument(help="A finished index whose model is at hand.")],
    seconds: Annotated[float, typer.Option(min=10, help="Of mixed visitors.")] = 300,
    uploads: Annotated[int, typer.Option(min=1, help="Of one client, after that.")] = 3200,
) -> None:
    """Memory of a server that is used for a long time."""
    from bench.soak import main

    main(index_dir, seconds=seconds, n_uploads=uploads)


@cli.command()
def encode(
    source: Annotated[Path | None, typer.Argument(help=f"Image set; {ELSE_OURS}")] = None,
    device: Annotated[str, typer.Option(help="cpu or cuda.")] = "cpu",
    rounds: Annotated[int, typer.Option(min=1)] = 3,
    images: Annotated[int, typer.Option(min=8, help="Of each round.")] = 24,
) -> None:
    """Encode against the reference loop and against the vision tower alone, at full size."""
    from bench.encode import EncodeSizes, main

    main(source or image_sets().photos, device=device, sizes=EncodeSizes(rounds=rounds, images=images))


@cli.command()
def agreement(
    model: Annotated[
        Path | None, typer.Option(help="CLIP folder; else ViT-L/14 with random weights.")
    ] = None,
    sae: Annotated[Path | None, typer.Option(help="Its SAEs.")] = None,
    limit: Annotated[int | None, typer.Option(min=9, help="Only the first N images.")] = None,
) -> None:
    """How much bfloat16 changes, on the 770 real images (drawn ones where there are none)."""
    from bench.agreement_runs import full_size, of_model

    sets = image_sets()
    if model is not None and sae is not None:
        of_model(model, sae, [sets.laion, sets.photos], limit)
    else:
        full_size([sets.laion, sets.photos], limit)


@cli.command()
def preprocess(
    source: Annotated[Path | None, typer.Argument(help=f"Image set; {ELSE_OURS}")] = None,
) -> None:
    """Decoding, cropping and thumbnails, images a second a core."""
    from bench.preprocess import main

    main(source or image_sets().photos)


@cli.command()
def linear(
    sizes: Annotated[list[int] | None, typer.Argument(help="Numbers of images.")] = None,
) -> None:
    """Seconds an image at a thousand, ten thousand and a hundred thousand images."""
    from bench.linear import main

    main(sizes or [1_000, 10_000, 100_000])


@cli.callback()
def _names() -> None:
    """Benchmarks by name."""


if __name__ == "__main__":
    cli()
