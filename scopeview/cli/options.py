"""Options that several commands share, and how their text is read."""

from collections.abc import Hashable
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

from scopeview.errors import InputError
from scopeview.slots import Layer, Token, parse_layer, parse_token

if TYPE_CHECKING:
    from scopeview.importers import Stated

_Value = TypeVar("_Value", bound=Hashable)


class NormalizationChoice(StrEnum):
    none = "none"
    standardize = "standardize"


class DtypeChoice(StrEnum):
    auto = "auto"
    float32 = "float32"
    bfloat16 = "bfloat16"


class EngineChoice(StrEnum):
    local = "local"
    ray = "ray"


class SourceKindChoice(StrEnum):
    folder = "folder"
    webdataset = "webdataset"
    parquet = "parquet"


class ArchitectureChoice(StrEnum):
    topk = "topk"
    relu = "relu"


class DecayChoice(StrEnum):
    linear = "linear"
    cosine = "cosine"
    none = "none"


class StartChoice(StrEnum):
    random = "random"
    tokens = "tokens"


class EncoderDevice(StrEnum):
    auto = "auto"
    cpu = "cpu"
    cuda = "cuda"
    off = "off"


Model = Annotated[str, typer.Option(help="CLIP: Hugging Face id (with @revision) or local folder.")]
Sae = Annotated[str, typer.Option(help="SAE suite: Hugging Face id (with @revision), folder or file.")]
Layers = Annotated[
    str | None,
    typer.Option(help="Such as 11,22,embed. Default: every layer that the suite has.", show_default=False),
]
Tokens = Annotated[
    str | None,
    typer.Option(
        help="cls, a token number (1 is the patch at the top left), any; with commas between. Default: cls "
        "and the patch in the middle of the picture, 137 where the model has 16 x 16 patches.",
        show_default=False,
    ),
]
Normalization = Annotated[
    NormalizationChoice | None,
    typer.Option(help="Of the SAEs' inputs. Default: as each SAE was trained.", show_default=False),
]
K = Annotated[
    int | None,
    typer.Option("--k", min=1, help="Of TopK SAEs whose files do not say their k.", show_default=False),
]
Architecture = Annotated[
    ArchitectureChoice | None,
    typer.Option(help="Of SAEs whose files do not say theirs.", show_default=False),
]
ForceModel = Annotated[
    bool, typer.Option("--force-model", help="Use SAEs that were trained on another model.")
]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N.")]
Dtype = Annotated[DtypeChoice, typer.Option(help="auto: as suits the device; the log says why.")]
SourceKind = Annotated[
    SourceKindChoice | None,
    typer.Option(help="What SOURCE is, where it holds files of several kinds.", show_default=False),
]
FollowLinks = Annotated[bool, typer.Option("--follow-links", help="Also links that lead out of SOURCE.")]
ImageKey = Annotated[
    str | None,
    typer.Option(
        help="Column, or what follows the key in a tar (input.jpg), that is the image.", show_default=False
    ),
]
Vocabulary = Annotated[
    Path | None,
    typer.Option(
        help="Words to name features after, one a line. Default: some 2,700 general ones.", show_default=False
    ),
]
Port = Annotated[int, typer.Option(min=1, max=65535)]
Host = Annotated[str, typer.Option(help="Address to listen on.")]


def parse_stated(architecture: ArchitectureChoice | None, k: int | None) -> "Stated":
    """`--architecture` and `--k`. Raises `InputError` where they contradict each other."""
    from scopeview.importers import Stated

    if architecture == ArchitectureChoice.relu and k is not None:
        raise InputError(f"--architecture relu has no k, but --k says {k}; leave one of them out")
    return Stated(architecture.value if architecture else None, k)


def parse_layers(text: str | None) -> list[Layer] | None:
    """`11,22,embed`; None stays None. Raises `InputError`."""
    return (
        None
        if text is None
        else _distinct("--layers", [parse_layer(part.strip()) for part in text.split(",")])
    )


def parse_tokens(text: str | None) -> list[Token] | None:
    """`cls,137,any`; None stays None. Raises `InputError`."""
    if text is None:
        return None
    return _distinct("--tokens", [parse_token(part.strip()) for part in text.split(",")])


def _distinct(option: str, values: list[_Value]) -> list[_Value]:
    if len(set(values)) != len(values):
        raise InputError(f"{option} names {', '.join(map(str, values))}: one of them twice")
    return values
