"""saev (OSU-NLP-Group): `sae.pt`, one line of JSON and then a state dict; ReLU, TopK and BatchTopK.

All schemas are read: none, 1 (two layouts, with the activation in `cls` or in `cfg.activation`) and 2 to 5.
Files without a schema and of schema 1 were trained with code that subtracts the decoder's bias before it
encodes (until its commit e7ca004 of 2025-07-31), on activations `(x - mean) / scalar` whose mean and scalar
are not in the file. saev's present code reads such files without the subtraction and gives other latents. The
layer is that of a folder named `layer_13` around the file; a file elsewhere needs --layers.
"""

import io
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from torch import Tensor

from scopeview.errors import CheckpointError
from scopeview.importers.sites import requested_layer
from scopeview.importers.source import (
    Form,
    Loaded,
    SaeSource,
    Stated,
    WeightFile,
    check_sizes,
    check_tensors,
    check_widths,
    folder_patterns,
    sae_source,
    weight_file,
    whole_number,
)
from scopeview.importers.torch_file import load_plain, specs_of, tensors_of, torch_files, weights_of
from scopeview.sae.autoencoder import Weights
from scopeview.slots import Layer

TENSORS = ("W_enc", "b_enc", "W_dec", "b_dec")
THRESHOLD = "activation.threshold"
_MAX_HEADER_BYTES = 1 << 20
_SCHEMAS = (1, 2, 3, 4, 5)
_FOLDER = re.compile(r"layer_(\d+)")
_WITHOUT_STATISTICS = (
    "was trained by saev's version 1 on (x - mean) / scalar, and its file lacks both mean and scalar: they "
    "are estimated from the indexed images; --normalization none where it was trained on raw activations"
)
_WITHOUT_THRESHOLD = (
    "is a BatchTopK SAE of a saev that stored no threshold: the k largest of each token are kept, as it did"
)
_PATCHES = "saev trains on patches: CLS may be a token that it has never seen"


class _Header(NamedTuple):
    """What the line of JSON says: `activation` is Relu, TopK or BatchTopK."""

    schema: int  # 0: none
    activation: str
    k: int | None
    cfg: Mapping[str, object]


def patterns(layers: Sequence[Layer] | None) -> list[str]:
    """Patterns for the files of these layers in a repository."""
    return folder_patterns(layers, ("sae.pt",))


def find(root: Path, layers: Sequence[Layer] | None) -> Iterator[WeightFile]:
    """Every `.pt` file that begins with a line of JSON."""
    for path in torch_files(root, "*.pt"):
        with path.open("rb") as file:
            first = file.readline(_MAX_HEADER_BYTES)
        if first[:1] == b"{" and first[-1:] == b"\n":
            around = (_FOLDER.fullmatch(folder.name) for folder in list(path.absolute().parents)[:3])
            named = next((int(match[1]) for match in around if match), None)
            layer = requested_layer(path, layers, folder="layer_22") if named is None else named
            yield weight_file("saev", root, path, layer)


def read(found: WeightFile, stated: Stated) -> SaeSource:
    header, tensors = _read(found.path)
    specs = specs_of(tensors)
    d_in, n_features = check_widths(found.path, specs.get("W_enc"), specs.get("W_dec"))
    shapes = dict(zip(TENSORS, ((d_in, n_features), (n_features,), (n_features, d_in), (d_in,)), strict=True))
    has_threshold = header.activation == "BatchTopK" and THRESHOLD in specs
    check_tensors(found.path, specs, {**shapes, **({THRESHOLD: ()} if has_threshold else {})})
    check_sizes(found.path, header.cfg, {"d_model": d_in, "d_vit": d_in, "d_sae": n_features})
    keeps_k = header.activation != "Relu" and not has_threshold
    is_old = header.schema < 2
    form = Form(
        "topk" if keeps_k else "jumprelu" if has_threshold else "relu",
        header.k if keeps_k else None,
        normalization="center_scale" if is_old else "none",
        subtract_pre_b=is_old,
    )
    without = [_WITHOUT_THRESHOLD] if header.activation == "BatchTopK" and not has_threshold else []
    notes = [_WITHOUT_STATISTICS] if is_old else []
    return sae_source(found, stated, form, (d_in, n_features), notes=notes, remarks=[*without, _PATCHES])


def load(source: SaeSource) -> Loaded:
    _, tensors = _read(source.path)
    limit = [THRESHOLD] if source.config.architecture == "jumprelu" else []
    found = weights_of(source.path, tensors, [*TENSORS, *limit])
    threshold = found[THRESHOLD].expand(source.config.n_features).clone() if limit else None
    return Loaded(Weights(found["b_dec"], found["W_enc"], found["W_dec"], found["b_enc"], threshold))


def _read(path: Path) -> tuple[_Header, dict[str, Tensor]]:
    with path.open("rb") as file:
        first = file.readline(_MAX_HEADER_BYTES)
        rest = io.BytesIO(file.read())
    try:
        content = json.loads(first)
    except ValueError as error:
        raise CheckpointError(f"{path}: its first line cannot be read as JSON: {error}") from None
    return _header(path, content), tensors_of(path, load_plain(path, rest))


def _header(path: Path, content: dict[str, Any]) -> _Header:
    schema = content.get("schema")
    if schema is None:
        return _Header(0, "Relu", None, content)
    if schema not in _SCHEMAS:
        raise CheckpointError(
            f"{path}: schema is {schema!r}; supported: none, {', '.join(map(str, _SCHEMAS))}"
        )
    cfg = content.get("cfg")
    if not isinstance(cfg, dict):
        raise CheckpointError(f"{path}: its first line has no cfg; expected a JSON object")
    if content.get("cls") in ("Relu", "TopK", "BatchTopK"):
        name, k = content["cls"], cfg.get("top_k")
    else:
        activation = cfg.get("activation") or {"cls": "Relu"}
        name = activation.get("cls") if isinstance(activation, dict) else activation
        k = activation.get("params", {}).get("top_k") if isinstance(activation, dict) else None
    if name not in ("Relu", "TopK", "BatchTopK"):
        raise CheckpointError(f"{path}: activation is {name!r}; supported: 'Relu', 'TopK', 'BatchTopK'")
    number = whole_number(k)
    return _Header(schema, name, number if isinstance(number, int) else None, cfg)
