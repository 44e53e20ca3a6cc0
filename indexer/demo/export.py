"""Makes the trained CLIP and its SAEs small enough to ship: half precision, and only the files loading needs.

`python -m indexer.demo.export clip FROM OUT` and `... saes OUT FROM...` write the formats that they read. The
SAEs' standardisation statistics stay in fp32: they are few.
"""

import json
import shutil
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import torch
import typer
from safetensors.torch import load_file, save_file
from torch import Tensor

from indexer.training.checkpoint import RESULT
from scopeview.errors import InputError
from scopeview.importers import native
from scopeview.importers.source import CONFIG_NAME
from scopeview.store.files import atomic_write, write_json
from scopeview.vision.weights import SAFETENSORS

_TOKENIZER_AND_PIXELS = ("preprocessor_config.json", "tokenizer.json", "tokenizer_config.json")
_KEPT_WHOLE = ("input_mean", "input_std")


def ship_clip(clip: Path, out: Path) -> None:
    """Writes the files that `Clip.load` and the text encoder read, and the training result.

    Raises `InputError` for an unfinished run, or a number that half precision cannot represent.
    """
    _halve(clip / SAFETENSORS, out / SAFETENSORS)
    for name in _TOKENIZER_AND_PIXELS:
        shutil.copyfile(clip / name, out / name)
    write_json(out / RESULT, _json(clip / RESULT))
    write_json(out / "config.json", {**_json(clip / "config.json"), "dtype": "float16"})


def ship_saes(suites: Sequence[Path], out: Path) -> None:
    """Writes the SAEs of one or more runs of `train-sae`, each layer in its folder below `out`.

    Raises `InputError` as `ship_clip` does, and for a layer that occurs in two of the runs.
    """
    for folder in _layers_of(suites):
        _halve(folder / native.WEIGHTS_NAME, out / folder.name / native.WEIGHTS_NAME)
        write_json(out / folder.name / CONFIG_NAME, _json(folder / CONFIG_NAME))


def _layers_of(suites: Sequence[Path]) -> list[Path]:
    folders = [path.parent for suite in suites for path in sorted(suite.glob(f"*/{CONFIG_NAME}"))]
    if not folders:
        raise InputError(f"no finished SAE lies in {', '.join(map(str, suites))}")
    names = [folder.name for folder in folders]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise InputError(f"layer {', '.join(twice)} is there twice, in {', '.join(map(str, suites))}")
    return folders


def _halve(path: Path, out: Path) -> None:
    if not path.is_file():
        raise InputError(f"{path} is missing: is the training that makes it finished?")
    halved = dict(_halved(path, load_file(path)))
    with atomic_write(out) as part:
        save_file(halved, part, metadata={"format": "pt"})


def _halved(path: Path, tensors: Mapping[str, Tensor]) -> Iterator[tuple[str, Tensor]]:
    for name, tensor in tensors.items():
        half = tensor.half() if tensor.is_floating_point() and name not in _KEPT_WHOLE else tensor
        if not bool(torch.isfinite(half).all()):
            raise InputError(f"{path}: {name} holds numbers that float16 cannot")
        yield name, half


def _json(path: Path) -> dict[str, object]:
    try:
        return dict(json.loads(path.read_bytes()))
    except FileNotFoundError:
        raise InputError(f"{path} is missing: is the training that makes it finished?") from None


app = typer.Typer(help="Make trained weights small enough to ship.", add_completion=False)


@app.command("clip")
def _clip(trained: Path, out: Path) -> None:
    """The CLIP of a run of train-clip, in half precision."""
    ship_clip(trained, out)


@app.command("saes")
def _saes(out: Path, trained: list[Path]) -> None:
    """The SAEs of one or more runs of train-sae, in half precision."""
    ship_saes(trained, out)


if __name__ == "__main__":
    app()
