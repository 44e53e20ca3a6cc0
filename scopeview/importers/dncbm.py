"""DN-CBM (Discover-then-Name): `sparse_autoencoder_final.pt`, a state dict, on the final CLIP embedding.

ReLU; the bias before the encoder is the one after the decoder. `encoder.weight` is `encoder._weight` in older
files, likewise the others, and every tensor may have a leading axis for components, of which there is one.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path

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

BEFORE, AFTER = "pre_encoder_bias._bias_reference", "post_decoder_bias._bias_reference"
TENSORS = (BEFORE, "encoder.weight", "encoder.bias", "decoder.weight", AFTER)
_AXES = {BEFORE: 1, "encoder.weight": 2, "encoder.bias": 1, "decoder.weight": 2, AFTER: 1}


def patterns(layers: Sequence[Layer] | None) -> list[str]:
    """Patterns for the file in a repository."""
    return ["*sparse_autoencoder_final.pt"] if layers is None or EMBED in layers else []


def find(root: Path, layers: Sequence[Layer] | None) -> Iterator[WeightFile]:
    """Every `.pt` file with the two bias references."""
    del layers
    for path in torch_files(root, "*.pt"):
        if has_tensors(path, BEFORE, AFTER):
            yield weight_file("dn-cbm", root, path, EMBED)


def read(found: WeightFile, stated: Stated) -> SaeSource:
    specs = specs_of(_tensors(found.path))
    d_in, n_features = check_widths(found.path, specs.get("decoder.weight"), specs.get("encoder.weight"))
    shapes = ((d_in,), (n_features, d_in), (n_features,), (d_in, n_features), (d_in,))
    check_tensors(found.path, specs, dict(zip(TENSORS, shapes, strict=True)), allowed=["tied_bias"])
    return sae_source(found, stated, Form("relu", subtract_pre_b=False), (d_in, n_features))


def load(source: SaeSource) -> Loaded:
    w = weights_of(source.path, _tensors(source.path), TENSORS)
    enc, dec = w["encoder.weight"].T.contiguous(), w["decoder.weight"].T.contiguous()
    # Folded, so that it holds too where the two biases are not one.
    return Loaded(Weights(w[AFTER], enc, dec, w["encoder.bias"] - w[BEFORE] @ enc))


def _tensors(path: Path) -> dict[str, Tensor]:
    """The tensors under their newer names, without the axis of components."""
    found = {}
    for stored, tensor in tensors_of(path, read_torch(path)).items():
        name = stored.replace("._weight", ".weight").replace("._bias", ".bias")
        name = name.replace(".bias_reference", "._bias_reference")
        if tensor.ndim == _AXES.get(name, tensor.ndim) + 1:
            if tensor.shape[0] != 1:
                raise CheckpointError(f"{path}: {stored} is for {tensor.shape[0]} components; expected one")
            tensor = tensor[0]
        found[name] = tensor
    return found
