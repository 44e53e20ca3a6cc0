"""Scopeview: see what a vision transformer sees. `open_index` opens a finished index from Python."""

from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from scopeview.index_api import Index

try:
    __version__ = version("scopeview")
except PackageNotFoundError:  # a source tree that was never installed
    __version__ = "0+unknown"

__all__ = ["__version__", "open_index"]


def open_index(index_dir: str | Path) -> "Index":
    """Opens the finished index in this folder; its features are displayed with their images in a notebook.

    Raises `IndexFormatError` if the folder is not a finished index.
    """
    from scopeview.index_api import Index

    return Index(Path(index_dir).expanduser())
