"""`serve` and `demo`: indexes as a web site."""

from pathlib import Path
from typing import Annotated

import typer

from scopeview.cli.options import EncoderDevice, Host, Port
from scopeview.signals import GOES_ON, if_stopped


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


def demo(
    out: Annotated[Path, typer.Option(help="Where the demo's images, model and index are kept.")] = Path(
        "data"
    ),
    host: Host = "127.0.0.1",
    port: Port = 8000,
    images: Annotated[
        int | None,
        typer.Option(
            min=100, help="Scenes to draw and index.", show_default="1500, or as the demo there has"
        ),
    ] = None,
    build_only: Annotated[
        bool, typer.Option("--build-only", help="Make the index and do not serve it.")
    ] = False,
) -> None:
    """Draw a world of scenes, index it with the small built-in CLIP, and serve it."""
    from indexer.demo.build import build_demo

    with if_stopped(GOES_ON):
        index_dir = build_demo(out, n_images=images)
    if not build_only:
        serve([index_dir], host=host, port=port)
