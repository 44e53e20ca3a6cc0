"""MSAE (WolodjaZ/MSAE): one `.pth`, on the final CLIP embedding; the architecture stands in the file's name.

`{n_features}_{d_in}_{activation}_{tied}_{normalize}_{soft cap}_{data}.pth`, such as
`6144_768_TopKReLU_64_RW_False_False_0.0_cc3m_ViT-L~14_train_image_2905936_768.pth`. Inputs are
`(x - mean_center) * scaling_factor`, which the file holds beside the weights; with `normalize` each is then
normed by its own mean and std, which is read where mean_center is one number. Codes are those of the named
activation: JumpReLU, ReLU, TopK with and without ReLU (MSAE's demo also shows what its TopK leaves out).
BatchTopK needs a whole batch and is refused by name.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from scopeview.errors import CheckpointError
from scopeview.importers.source import (
    Form,
    Loaded,
    SaeSource,
    Stated,
    WeightFile,
    check_tensors,
    check_widths,
    sae_source,
    weight_file,
    whole_number,
)
from scopeview.importers.torch_file import read_torch, specs_of, tensors_of, torch_files, weights_of
from scopeview.sae.autoencoder import Weights
from scopeview.sae.forms import Architecture
from scopeview.sae.normalization import Standardization
from scopeview.slots import EMBED, Layer

TENSORS = ("pre_bias", "encoder", "latent_bias")
_THRESHOLD = "activation.log_threshold"
_KEYS = {"model", "mean_center", "scaling_factor"}
_NAME = re.compile(
    r"(?P<h>\d+)_(?P<d>\d+)_(?P<activation>[A-Za-z]+)(?:_(?P<number>\d+))?(?:_(?:UW|RW))?"
    r"_(?P<tied>True|False)_(?P<normalize>True|False)_(?P<soft_cap>\d+(?:\.\d+)?)(?:_.*)?\.pth?"
)
_ARCHITECTURES: dict[str, Architecture] = {
    "ReLU": "relu",
    "JumpReLU": "jumprelu",
    "TopK": "topk",
    "TopKReLU": "topk",
}


class _Name(NamedTuple):
    """What a file's name says."""

    n_features: int
    d_in: int
    activation: str
    k: int | None
    is_tied: bool
    normalizes: bool
    soft_cap: float | None


def patterns(layers: Sequence[Layer] | None) -> list[str]:
    """None: a repository holds dozens for one layer, so that one is named (`org/name:folder/file.pth`)."""
    del layers
    return []


def find(root: Path, layers: Sequence[Layer] | None) -> Iterator[WeightFile]:
    """Every `.pth` or `.pt` file with a model beside its mean and scaling factor."""
    del layers
    for path in torch_files(root, "*.pth", "*.pt"):
        if _content(path) is not None:
            yield weight_file("msae", root, path, EMBED)


def read(found: WeightFile, stated: Stated) -> SaeSource:
    name, content, tensors = _read(found.path)
    specs = specs_of(tensors)
    encoder = specs.get("encoder")
    decoder = encoder and encoder._replace(shape=encoder.shape[::-1])
    widths = check_widths(found.path, encoder, decoder if name.is_tied else specs.get("decoder"))
    d_in, n_features = widths
    if (n_features, d_in) != (name.n_features, name.d_in):
        raise CheckpointError(
            f"{found.path}: its name says {name.n_features} features of {name.d_in} dimensions, but the "
            f"weights have {n_features} of {d_in}; expected them to agree"
        )
    shapes: dict[str, tuple[int, ...]] = {
        "pre_bias": (d_in,),
        "encoder": widths,
        "latent_bias": (n_features,),
    }
    shapes |= {} if name.is_tied else {"decoder": (n_features, d_in)}
    shapes |= {_THRESHOLD: (n_features,)} if name.activation == "JumpReLU" else {}
    check_tensors(found.path, specs, shapes, allowed=["latents_activation_frequency"])
    mean, _ = _statistics(found.path, content, d_in)
    if name.normalizes and not bool((mean == mean[0]).all()):
        raise CheckpointError(
            f"{found.path} norms each embedding after a mean_center of {d_in} different numbers is "
            "subtracted; supported is one number"
        )
    form = Form(
        _ARCHITECTURES[name.activation],
        name.k,
        normalization="layer_norm" if name.normalizes else "center_scale",
        relu_after_topk=name.activation == "TopKReLU",
        soft_cap=name.soft_cap,
    )
    return sae_source(found, stated, form, widths)


def load(source: SaeSource) -> Loaded:
    name, content, tensors = _read(source.path)
    limit = [_THRESHOLD] if name.activation == "JumpReLU" else []
    decoder = [] if name.is_tied else ["decoder"]
    w = weights_of(source.path, tensors, [*TENSORS, *decoder, *limit])
    dec = w["encoder"].T.contiguous() if name.is_tied else w["decoder"]
    threshold = w[_THRESHOLD].exp() if limit else None
    weights = Weights(w["pre_bias"], w["encoder"], dec, w["latent_bias"], threshold)
    mean, scale = _statistics(source.path, content, name.d_in)
    if not name.normalizes:
        # (x - mean) * scale, as a division by one and the same standard deviation.
        return Loaded(weights, Standardization(mean, torch.full_like(mean, 1 / scale), n_tokens=0, eps=0.0))
    return Loaded(weights)


def _read(path: Path) -> tuple[_Name, Mapping[str, Any], dict[str, Tensor]]:
    content = _content(path)
    assert content is not None
    return _parse(path), content, tensors_of(path, content["model"], "model")


def _content(path: Path) -> Mapping[str, Any] | None:
    try:
        content = read_torch(path)
    except (CheckpointError, OSError):
        return None
    return content if isinstance(content, dict) and set(content) >= _KEYS else None


def _parse(path: Path) -> _Name:
    match = _NAME.fullmatch(path.name)
    if match is None:
        raise CheckpointError(
            f"{path}: its name does not say its architecture; expected the name that MSAE gave it, such as "
            "6144_768_TopKReLU_64_RW_False_False_0.0_data.pth"
        )
    if match["activation"] not in _ARCHITECTURES:
        raise CheckpointError(
            f"{path}: its name says activation {match['activation']!r}; supported: "
            f"{', '.join(map(repr, _ARCHITECTURES))}"
        )
    k = int(match["number"]) if match["activation"].startswith("TopK") and match["number"] else None
    sizes = (int(match["h"]), int(match["d"]))
    flags = (match["tied"] == "True", match["normalize"] == "True")
    return _Name(*sizes, match["activation"], k, *flags, float(match["soft_cap"]) or None)


def _statistics(path: Path, content: Mapping[str, Any], d_in: int) -> tuple[Tensor, float]:
    """The mean and the factor that the file holds, which is a positive number."""
    found = content["mean_center"]
    mean = torch.as_tensor(found, dtype=torch.float32)
    mean = mean.expand(d_in).clone() if mean.ndim == 0 else mean
    scale = whole_number(content["scaling_factor"])
    factor = float(scale) if isinstance(scale, int | float) else 0.0
    if mean.shape != (d_in,) or not mean.isfinite().all() or not 0 < factor < float("inf"):
        raise CheckpointError(
            f"{path}: mean_center has shape {list(mean.shape)} and scaling_factor is {scale!r}; expected "
            f"[{d_in}] finite numbers and a number above 0"
        )
    return mean, factor
