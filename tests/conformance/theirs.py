"""The authors' side: their ViT, their hooks, their SAE, on images as Pillow opens them.

Run as a script by the environment that has `clipscope`; knows nothing of Scopeview. Writes one npz a batch:
pixel_values, taps_{L}, and features_{L}_{tokens} with values_{L}_{tokens} for the tokens cls, 137 and all.
"""

import argparse
from pathlib import Path
from typing import Any

import clipscope.sae
import numpy as np
import torch
from clipscope import ConfiguredViT, TopKSAE
from PIL import Image


def main() -> None:
    args = _arguments()
    # The checkpoint is on disk: what they would download is this file.
    clipscope.sae.hf_hub_download = lambda filename, **_: str(args.saes / filename)
    vit = ConfiguredViT([(layer, "resid") for layer in args.layers], str(args.model), device="cpu")
    vit.eval()
    saes = {
        layer: TopKSAE.from_pretrained(f"{layer}_resid/1200013184.pt", device="cpu") for layer in args.layers
    }
    files = sorted(args.images.iterdir())
    for start in range(0, len(files), args.batch_size):
        images: list[Image.Image] = [Image.open(file) for file in files[start : start + args.batch_size]]
        np.savez(args.out / f"{start:04d}.npz", **_run(vit, saes, images))


@torch.no_grad()
def _run(vit: Any, saes: dict[int, Any], images: list[Image.Image]) -> dict[str, Any]:
    found = {"pixel_values": vit.processor(images=images, return_tensors="np")["pixel_values"]}
    for (layer, _), taps in vit.all_activations(images).items():
        found[f"taps_{layer}"] = taps.numpy()
        for tokens, x in {"cls": taps[:, 0], "137": taps[:, 137], "all": taps.flatten(0, 1)}.items():
            latent = saes[layer].forward_verbose(x)["latent"]
            # Dense, and zero but for the k kept values, which can be negative.
            features = latent.abs().topk(saes[layer].k, dim=-1).indices
            found[f"features_{layer}_{tokens}"] = features.numpy()
            found[f"values_{layer}_{tokens}"] = latent.gather(-1, features).numpy()
    return found


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    for name in ("model", "saes", "images", "out"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    parser.add_argument("--layers", type=int, nargs="+", required=True)
    parser.add_argument("--batch-size", type=int, required=True)
    return parser.parse_args()


if __name__ == "__main__":
    main()
