"""Gytis Daujotas' SAE on CLIP bigG image embeddings: `sparse_autoencoder_128.pth` (gytdau/clip-sae-128).

A state dict: `encoder.weight` [163840, 1280], `enc_bias`, `decoder.weight` [1280, 163840], `dec_bias`. ReLU,
nothing subtracted; the input is the `image_embeds` of the Kandinsky 2.2 prior's encoder, the layer `embed`.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path

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
)
from scopeview.importers.torch_file import (
    has_tensors,
    read_torch,
    specs_of,
    tensors_of,
    torch_files,
    weights_of,
)
from scopeview.sae.autoencoder import Weights
from scopeview.slots import EMBED, Layer

TENSORS = ("encoder.weight", "enc_bias", "decoder.weight", "dec_bias")
_MODEL = "laion/CLIP-ViT-bigG-14-laion2B-39B-b160k"


def patterns(layers: Sequence[Layer] | None) -> list[str]:
    """Patterns for the file in a repository."""
    return ["sparse_autoencoder_128.pth"] if layers is None or EMBED in layers else []


def find(root: Path, layers: Sequence[Layer] | None) -> Iterator[WeightFile]:
    """Every `.pth` or `.pt` file with these four tensors' names."""
    del layers
    for path in torch_files(root, "*.pth", "*.pt"):
        if has_tensors(path, "enc_bias", "dec_bias"):
            yield weight_file("daujotas", root, path, EMBED)


def read(found: WeightFile, stated: Stated) -> SaeSource:
    specs = specs_of(tensors_of(found.path, read_torch(found.path)))
    d_in, n_features = check_widths(found.path, specs.get("decoder.weight"), specs.get("encoder.weight"))
    shapes = ((n_features, d_in), (n_features,), (d_in, n_features), (d_in,))
    check_tensors(found.path, specs, dict(zip(TENSORS, shapes, strict=True)))
    form = Form("relu", subtract_pre_b=False)
    model = _MODEL if (d_in, n_features) == (1280, 163_840) else None
    return sae_source(found, stated, form, (d_in, n_features), trained_on=model)


def load(source: SaeSource) -> Loaded:
    w = weights_of(source.path, tensors_of(source.path, read_torch(source.path)), TENSORS)
    enc, dec = w["encoder.weight"].T.contiguous(), w["decoder.weight"].T.contiguous()
    return Loaded(Weights(w["dec_bias"], enc, dec, w["enc_bias"]))
