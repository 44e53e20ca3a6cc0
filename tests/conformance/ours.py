"""Our side: the same files and images through exactly the code that the indexer uses."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from transformers import CLIPModel
from transformers.utils.logging import disable_progress_bar

from scopeview.images import ImageLimits, decode
from scopeview.importers import load_sae, read_suite
from scopeview.vision.clip import Clip
from tests.conformance.comparison import Arrays

TOKENS = ("cls", "137", "all")


def run(
    model: Path, saes: Path, images: Sequence[Path], layers: Sequence[int], batch_size: int
) -> Iterator[Arrays]:
    """One batch's arrays at a time, named as `theirs` names them.

    Besides those, `reference_{L}` (`hidden_states[L + 1]` of transformers in this environment) and
    `pre_{L}_{tokens}` (all pre-activations, dense).
    """
    clip = Clip.load(str(model))
    loaded = {s.layer: load_sae(s).without_standardization() for s in read_suite(str(saes), layers).sources}
    disable_progress_bar()  # type: ignore[no-untyped-call]
    reference: Any = CLIPModel.from_pretrained(model).vision_model
    for start in range(0, len(images), batch_size):
        files = images[start : start + batch_size]
        crops = [clip.preprocessing.crop(decode(f.read_bytes(), ImageLimits()).image) for f in files]
        pixels = torch.from_numpy(np.stack(crops))
        pixel_values = clip.normalize(pixels)
        taps = clip.forward(pixels, layers).residuals
        found = {"pixel_values": pixel_values.numpy()}
        with torch.no_grad():
            states = reference(pixel_values=pixel_values, output_hidden_states=True).hidden_states
        for layer in layers:
            found |= {f"taps_{layer}": taps[layer].numpy(), f"reference_{layer}": states[layer + 1].numpy()}
            for tokens, x in zip(TOKENS, _rows(taps[layer]), strict=True):
                sae = loaded[layer]
                codes = sae.encode(x)
                found[f"features_{layer}_{tokens}"] = codes.features.numpy()
                found[f"values_{layer}_{tokens}"] = codes.values.numpy()
                found[f"pre_{layer}_{tokens}"] = ((x - sae.pre_b) @ sae.enc).numpy()
        yield found


def _rows(taps: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    return taps[:, 0], taps[:, 137], taps.flatten(0, 1)
