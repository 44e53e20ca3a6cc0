"""`python -m bench NAME`: runs one benchmark, or all of them."""

from typing import Annotated

import typer

cli = typer.Typer(no_args_is_help=True, help=__doc__)

IMAGES = "../shared/images"


@cli.command()
def real_input(
    sources: Annotated[list[str] | None, typer.Argument(help="Image sets.")] = None,
    dtype: Annotated[str, typer.Option(help="float32 or bfloat16.")] = "float32",
) -> None:
    """The main job at full size on real images."""
    from bench.real_input import main

    main(sources or [f"{IMAGES}/laion", f"{IMAGES}/photos"], dtype=dtype)


@cli.callback()
def _names() -> None:
    """Benchmarks by name."""


if __name__ == "__main__":
    cli()
