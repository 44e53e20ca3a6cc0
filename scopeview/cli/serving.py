"""`serve` and `demo`: serve indexes as a web site."""

from pathlib import Path
from typing import Annotated

import typer

from scopeview.cli.options import EncoderDevice, Host, Port
from scopeview.signals import RESUMES, if_stopped


def serve(
    index_dirs: Annotated[list[Path], typer.Argument(metavar="DIR...", help="One or more finished indexes.")],
    host: Host = "127.0.0.1",
    port: Port = 8000,
    uploads: Annotated[Path | None, typer.Option(help="Folder for uploaded images.")] = None,
    device: Annotated[EncoderDevice, typer.Option(help="Device that encodes uploads.")] = EncoderDevice.auto,
) -> None:
    """Serve indexes as a web site."""
    from app.main import serve as serve_site

    serve_site(index_dirs, host=host, port=port, upload_dir=uploads, device=device.value)


def demo(
    out: Annotated[Path, typer.Option(help="Folder for the demo's images and index.")] = Path("data"),
    host: Host = "127.0.0.1",
    port: Port = 8000,
    images: Annotated[
        int | None,
        typer.Option(
            min=100, help="Scenes to draw and index.", show_default="1000, or as the demo there has"
        ),
    ] = None,
    build_only: Annotated[
        bool, typer.Option("--build-only", help="Build the index without serving it.")
    ] = False,
) -> None:
    """Draw scenes, index them with the built-in CLIP and serve the index."""
    from indexer.demo.build import build_demo

    with if_stopped(RESUMES):
        index_dir = build_demo(out, n_images=images)
    if not build_only:
        serve([index_dir], host=host, port=port)
