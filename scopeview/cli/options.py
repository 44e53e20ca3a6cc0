"""Options that several commands share, how their text is parsed, and the old names of renamed options."""

from collections.abc import Hashable, Mapping
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, TypeVar

import typer
from typer.core import TyperCommand

from scopeview.errors import InputError
from scopeview.slots import Layer, Token, parse_layer, parse_token

if TYPE_CHECKING:
    from scopeview.importers import Stated

_Value = TypeVar("_Value", bound=Hashable)


class NormalizationChoice(StrEnum):
    none = "none"
    standardize = "standardize"
    center_scale = "center_scale"
    layer_norm = "layer_norm"
    constant_norm = "constant_norm"


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


class InitChoice(StrEnum):
    random = "random"
    tokens = "tokens"


class EncoderDevice(StrEnum):
    auto = "auto"
    cpu = "cpu"
    cuda = "cuda"
    off = "off"


OLD_OPTIONS: dict[str, dict[str, str]] = {
    "index": {"--max-bad": "--max-bad-fraction", "--shared": "--shared-storage"},
    "train-clip": {
        "--matrix-lr": "--muon-lr",
        "--hold": "--plateau",
        "--whole-every": "--full-scene-every",
        "--whole-end": "--full-scene-tail",
        "--texts-from": "--head-only-fraction",
    },
    "train-sae": {"--dead-after": "--dead-after-tokens", "--start": "--init"},
}
"""For each command: old name -> present name. Old names are accepted but not shown."""


def command_class(old_options: Mapping[str, str]) -> type[TyperCommand]:
    """A command that also accepts its options by their old names."""

    class Command(TyperCommand):
        old: ClassVar = old_options

        def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
            return super().parse_args(ctx, [self._renamed(word) for word in args])

        def _renamed(self, word: str) -> str:
            name, equals, value = word.partition("=")
            return f"{self.old.get(name, name)}{equals}{value}"

    return Command


Model = Annotated[
    str, typer.Option(help="CLIP, ViT, DINOv2...: Hugging Face id (@revision optional) or local folder.")
]
Sae = Annotated[
    str,
    typer.Option(help="SAE suite: Hugging Face id (@revision and :folder optional), folder or file."),
]
Layers = Annotated[
    str | None,
    typer.Option(
        help="Layers, for example 11,22,embed. Default: all layers of the suite.", show_default=False
    ),
]
Tokens = Annotated[
    str | None,
    typer.Option(
        help="Comma-separated: cls, any, or token numbers (1 is the top left patch). Default: cls and the "
        "center patch, 137 for models with 16 x 16 patches.",
        show_default=False,
    ),
]
Normalization = Annotated[
    NormalizationChoice | None,
    typer.Option(help="Normalization of SAE inputs. Default: as each SAE was trained.", show_default=False),
]
K = Annotated[
    int | None,
    typer.Option("--k", min=1, help="k of TopK SAEs whose files do not state it.", show_default=False),
]
Architecture = Annotated[
    ArchitectureChoice | None,
    typer.Option(help="Architecture of SAEs whose files do not state it.", show_default=False),
]
ForceModel = Annotated[bool, typer.Option("--force-model", help="Use SAEs trained on another model.")]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N.")]
Dtype = Annotated[
    DtypeChoice, typer.Option(help="auto picks what the device multiplies fastest; the log says why.")
]
SourceKind = Annotated[
    SourceKindChoice | None,
    typer.Option(help="Kind of SOURCE if it holds several kinds of files.", show_default=False),
]
FollowLinks = Annotated[bool, typer.Option("--follow-links", help="Follow links that lead out of SOURCE.")]
ImageKey = Annotated[
    str | None,
    typer.Option(
        help="Column that holds the image, or its suffix in a tar, for example input.jpg.", show_default=False
    ),
]
Vocabulary = Annotated[
    Path | None,
    typer.Option(
        help="Words to name features with, one per line. Default: about 2,700 general words.",
        show_default=False,
    ),
]
Port = Annotated[int, typer.Option(min=1, max=65535, help="Port to listen on.")]
Host = Annotated[str, typer.Option(help="Address to listen on.")]


def parse_stated(architecture: ArchitectureChoice | None, k: int | None) -> "Stated":
    """Parses `--architecture` and `--k`. Raises `InputError` if they contradict each other."""
    from scopeview.importers import Stated

    if architecture == ArchitectureChoice.relu and k is not None:
        raise InputError(f"--architecture relu has no k, but --k says {k}; leave one of them out")
    return Stated(architecture.value if architecture else None, k)


def parse_layers(text: str | None) -> list[Layer] | None:
    """Parses layers such as `11,22,embed`; None stays None. Raises `InputError`."""
    return (
        None
        if text is None
        else _distinct("--layers", [parse_layer(part.strip()) for part in text.split(",")])
    )


def parse_tokens(text: str | None) -> list[Token] | None:
    """Parses tokens such as `cls,137,any`; None stays None. Raises `InputError`."""
    if text is None:
        return None
    return _distinct("--tokens", [parse_token(part.strip()) for part in text.split(",")])


def _distinct(option: str, values: list[_Value]) -> list[_Value]:
    if len(set(values)) != len(values):
        raise InputError(f"{option} names {', '.join(map(str, values))}: one of them twice")
    return values
