"""The model card that ships with the weights, written from what the evaluation commands printed.

`python -m indexer.demo.card MODEL` reads `MODEL/figures/*.json` and the training's own records, and writes
`MODEL/README.md`. Every number of its tables comes from one of those files.
"""

import json
from pathlib import Path
from typing import Any

import typer
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from indexer.training.checkpoint import RESULT
from scopeview.errors import InputError
from scopeview.importers.source import CONFIG_NAME
from scopeview.slots import EMBED
from scopeview.store.files import atomic_write

FIGURES = ("clip", "features", "search", "heat")
"""The files `figures/NAME.json`, each the output of `scopeview eval NAME --json`."""


def write_card(model: Path) -> None:
    """Writes the card. Raises `InputError` naming a missing file of figures."""
    figures = {name: _read(model / "figures" / f"{name}.json") for name in FIGURES}
    clip = _read(model / "world-clip" / RESULT)
    saes = [_read(path) for path in (model / "world-saes").glob(f"*/{CONFIG_NAME}")]
    text = (
        _environment()
        .get_template("card.md.j2")
        .render(
            **figures,
            trained_clip=clip,
            saes=sorted(saes, key=lambda sae: (sae["layer"] == EMBED, str(sae["layer"]))),
            n_bytes=sum(path.stat().st_size for path in model.rglob("*.safetensors")),
        )
    )
    with atomic_write(model / "README.md") as part:
        part.write_text(text, encoding="utf-8")


def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        autoescape=False,  # Markdown of our own numbers
    )
    environment.filters["percent"] = _percent
    return environment


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{100 * share:.1f} %"


def _read(path: Path) -> dict[str, Any]:
    try:
        return dict(json.loads(path.read_bytes()))
    except FileNotFoundError:
        raise InputError(f"{path} is missing: scripts/retrain-demo makes it") from None


if __name__ == "__main__":
    typer.run(write_card)
