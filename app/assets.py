"""Style sheet and scripts: read once, served from memory, with a content hash in their URLs."""

import functools
import hashlib
import mimetypes
from dataclasses import dataclass
from pathlib import Path

from app.urls import Urls

STATIC_DIR = Path(__file__).resolve().parent.parent / "static"
TEMPLATES_DIR = STATIC_DIR.parent / "templates"
_SERVED = {".css", ".js", ".svg"}


@dataclass(frozen=True)
class Asset:
    """One file as it is sent."""

    content: bytes
    media_type: str
    version: str  # changes with the content


class Assets:
    """The files below `static/`, by their path there. Only files found at the start are ever served."""

    def __init__(self, folder: Path = STATIC_DIR) -> None:
        files = (path for path in sorted(folder.rglob("*")) if path.suffix in _SERVED)
        self._files = {path.relative_to(folder).as_posix(): _read(path) for path in files}

    def get(self, name: str) -> Asset | None:
        return self._files.get(name)

    def url(self, name: str) -> str:
        """Returns the versioned URL. Raises `KeyError` for a missing file: a mistake in a template."""
        return Urls().static(name, self._files[name].version)


@functools.cache
def static_assets() -> Assets:
    """Returns the files of `static/`, read once per process."""
    return Assets()


def _read(path: Path) -> Asset:
    content = path.read_bytes()
    kind = mimetypes.guess_type(path.name)[0] or "application/octet-stream"
    return Asset(content, kind, hashlib.sha256(content).hexdigest()[:12])
