"""The libraries' side: random SAEs, saved as each library saves them, with its own codes of the same tokens.

Run as a script by the environment that has the libraries; knows nothing of Scopeview. Writes a folder a case:
the library's files, and `expected.npz` with x, codes (dense) and rebuilt.
"""

import argparse
import importlib
import importlib.util
import json
import sys
import types
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

D_IN, N_FEATURES, K, N_TOKENS = 64, 512, 16, 1000
LAYER = 3
Encode = Callable[[Tensor], tuple[Tensor, Tensor]]


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--out", type=Path, required=True)
    out = parser.parse_args().out
    warnings.simplefilter("ignore")
    x = 1.5 * torch.randn(N_TOKENS, D_IN, generator=torch.Generator().manual_seed(1)) + 0.3
    for cases in (sae_lens, sparsify, dictionary_learning, overcomplete, visaebench):
        for name, encode in cases(out):
            with torch.no_grad():
                codes, rebuilt = encode(x)
            np.savez(out / name / "expected.npz", x=x, codes=codes.float(), rebuilt=rebuilt.float())


def sae_lens(out: Path) -> Iterator[tuple[str, Encode]]:
    """Every architecture that is saved for inference, with every normalisation."""
    from sae_lens.registry import get_sae_class, get_sae_training_class

    sizes = {"d_in": D_IN, "d_sae": N_FEATURES}
    norms = ("none", "layer_norm", "constant_norm_rescale")
    settings: list[tuple[str, dict[str, Any]]] = [
        (architecture, {"normalize_activations": norm})
        for architecture in ("standard", "topk", "abstopk", "jumprelu", "gated")
        for norm in norms
    ]
    settings += [("standard", {"normalize_activations": "expected_average_only_in"})]
    settings += [("standard", {"normalize_activations": "covariance_whitening"})]
    settings += [("standard", {"apply_b_dec_to_input": False, "normalize_activations": n}) for n in norms]
    settings += [(name, {"rescale_acts_by_decoder_norm": True}) for name in ("topk", "abstopk")]
    for architecture, more in settings:
        kind, config = get_sae_class(architecture)
        k = {"k": K} if "topk" in architecture else {}
        sae = kind(config(**sizes, **k, **more))
        randomize(sae)
        detail = ", ".join(f"{name.removeprefix('normalize_')} {value}" for name, value in more.items())
        name = f"sae-lens {architecture}, {detail}"
        sae.cfg.metadata.hook_name = f"blocks.{LAYER}.hook_resid_post"
        sae.save_model(out / name)
        yield name, both(sae)
    for architecture in ("batchtopk", "matryoshka_batchtopk"):
        kind, config = get_sae_training_class(architecture)
        widths = {"matryoshka_widths": [128, N_FEATURES]} if architecture.startswith("matr") else {}
        sae = kind(config(**sizes, k=K, **widths))
        randomize(sae)
        sae.topk_threshold.fill_(12.0)
        name = f"sae-lens {architecture} as saved"
        sae.cfg.metadata.hook_name = f"blocks.{LAYER}.hook_resid_post"
        sae.save_inference_model(out / name)
        yield name, both(get_sae_class("jumprelu")[0].load_from_disk(out / name))


def sparsify(out: Path) -> Iterator[tuple[str, Encode]]:
    """Both activations."""
    bare("sparsify")
    from sparsify.config import SparseCoderConfig
    from sparsify.sparse_coder import SparseCoder

    for activation in ("topk", "groupmax"):
        coder = SparseCoder(D_IN, SparseCoderConfig(activation=activation, num_latents=N_FEATURES, k=K))
        randomize(coder)
        name = f"sparsify {activation}"
        coder.save_to_disk(out / name / f"layers.{LAYER}")

        def encode(x: Tensor, coder: Any = coder) -> tuple[Tensor, Tensor]:
            found = coder.encode(x)
            codes = torch.zeros(len(x), N_FEATURES).scatter(1, found.top_indices, found.top_acts)
            return codes, coder.decode(found.top_acts, found.top_indices)

        yield name, encode


def dictionary_learning(out: Path) -> Iterator[tuple[str, Encode]]:
    """Every class of its dictionaries and trainers, as its training loop saves them."""
    bare("dictionary_learning", "dictionary_learning.trainers")
    from dictionary_learning.dictionary import (
        AutoEncoder,
        AutoEncoderNew,
        GatedAutoEncoder,
        JumpReluAutoEncoder,
    )
    from dictionary_learning.trainers.batch_top_k import BatchTopKSAE
    from dictionary_learning.trainers.matryoshka_batch_top_k import MatryoshkaBatchTopKSAE
    from dictionary_learning.trainers.top_k import AutoEncoderTopK

    plain = (AutoEncoder, AutoEncoderNew, GatedAutoEncoder, JumpReluAutoEncoder)
    saes: list[Any] = [kind(D_IN, N_FEATURES) for kind in plain]
    saes += [kind(D_IN, N_FEATURES, K) for kind in (AutoEncoderTopK, BatchTopKSAE)]
    saes += [MatryoshkaBatchTopKSAE(D_IN, N_FEATURES, K, [128, 384])]
    for sae in saes:
        randomize(sae)
        if "BatchTopK" in type(sae).__name__:
            sae.threshold.fill_(12.0)
        name = f"dictionary-learning {type(sae).__name__}"
        folder = out / name / "trainer_0"
        folder.mkdir(parents=True)
        torch.save(sae.state_dict(), folder / "ae.pt")
        trainer = {"dict_class": type(sae).__name__, "layer": LAYER, "k": K}
        (folder / "config.json").write_text(json.dumps({"trainer": trainer}))
        yield name, both(sae)


def overcomplete(out: Path) -> Iterator[tuple[str, Encode]]:
    """Every class but the experimental ones and pursuits; dictionaries of every normalisation."""
    bare("overcomplete")
    from overcomplete.sae import SAE, BatchTopKSAE, JumpSAE, RAJumpSAE, RATopKSAE, TopKSAE

    points = torch.randn(40, D_IN, generator=torch.Generator().manual_seed(2))
    saes: dict[str, tuple[Any, dict[str, Any]]] = {
        "SAE": (SAE(D_IN, N_FEATURES), {}),
        "TopKSAE": (TopKSAE(D_IN, N_FEATURES, top_k=K), {"k": K}),
        "JumpSAE": (JumpSAE(D_IN, N_FEATURES), {}),
        "BatchTopKSAE": (BatchTopKSAE(D_IN, N_FEATURES, top_k=K), {"threshold": 12.0}),
        "RATopKSAE": (RATopKSAE(D_IN, N_FEATURES, points, top_k=K), {"k": K}),
        "RAJumpSAE": (RAJumpSAE(D_IN, N_FEATURES, points, delta=0.5), {"delta": 0.5}),
        "SAE with BatchNorm": (SAE(D_IN, N_FEATURES, encoder_module="mlp_bn_1"), {}),
    }
    for norm in ("identity", "max_l2", "l1", "max_l1"):
        made = SAE(D_IN, N_FEATURES, dictionary_params={"normalization": norm, "use_multiplier": True})
        saes[f"SAE dictionary {norm}"] = (made, {"dictionary_normalization": norm})
    for label, (sae, config) in saes.items():
        kind = type(sae).__name__
        randomize(sae)
        for name, buffer in sae.named_buffers():
            if name.endswith("running_var"):
                buffer.uniform_(0.5, 2)
        if kind == "BatchTopKSAE":
            sae.running_threshold = torch.tensor(config["threshold"])
        name = f"overcomplete {label}"
        (out / name).mkdir()
        torch.save(sae.state_dict(), out / name / "sae.pt")
        own = {"format": "overcomplete", "class": kind, "layer": LAYER, **config}
        (out / name / "cfg.json").write_text(json.dumps(own))
        sae.eval()

        def encode(x: Tensor, sae: Any = sae) -> tuple[Tensor, Tensor]:
            _, codes, rebuilt = sae(x)
            return codes, rebuilt

        yield name, encode


def visaebench(out: Path) -> Iterator[tuple[str, Encode]]:
    """Its three activations, in the files of its repositories, loaded by its own loader."""
    bare("visaebench", "visaebench.hub")
    from visaebench.hub.loader import load_sae

    random = torch.Generator().manual_seed(3)
    for activation in ("topk", "batchtopk", "jumprelu"):
        state = {
            "encoder.weight": torch.randn(N_FEATURES, D_IN, generator=random),
            "encoder.bias": torch.randn(N_FEATURES, generator=random),
            "decoder.weight": torch.randn(N_FEATURES, D_IN, generator=random),
        }
        if activation == "jumprelu":
            state["jump_thresholds"] = 12 + torch.randn(N_FEATURES, generator=random)
        config: dict[str, Any] = {
            "activation": activation,
            "input_dim": D_IN,
            "hidden_dim": N_FEATURES,
            "k": K,
            "layer": LAYER,
        }
        config |= {"threshold": 12.0} if activation == "batchtopk" else {}
        folder = out / f"visaebench {activation}"
        folder.mkdir()
        torch.save(state, folder / "sae.pt")
        (folder / "config.json").write_text(json.dumps(config))
        yield folder.name, both(load_sae(str(folder), device="cpu"))


def bare(*names: str) -> None:
    """Imports no more of a package than is asked for: its own __init__ wants vision models."""
    for name in names:
        spec = importlib.util.find_spec(name)
        assert spec is not None
        module = types.ModuleType(name)
        module.__path__ = list(spec.submodule_search_locations or [])
        sys.modules[name] = module


def both(sae: Any) -> Encode:
    """Codes by `encode`, and the reconstruction by `decode` of them."""

    def encode(x: Tensor) -> tuple[Tensor, Tensor]:
        codes = sae.encode(x)
        return codes, sae.decode(codes)

    return encode


def randomize(module: torch.nn.Module) -> None:
    """Random numbers for every parameter: many start as zeros or as each other's transpose."""
    random = torch.Generator().manual_seed(7)
    for parameter in module.parameters():
        scale = 0.5 if parameter.ndim < 2 else 1.0
        parameter.data = scale * torch.randn(parameter.shape, generator=random)


if __name__ == "__main__":
    main()
