"""Images of an edited embedding, by an image generator that is conditioned on embeddings. Optional.

A generator is trained on the image embeddings of one CLIP; those of another mean nothing to it. So it serves
only SAEs on `embed` of that very CLIP.

Requirements: `pip install scopeview[diffusion]`, and the weights of
`kandinsky-community/kandinsky-2-2-decoder` (a U-Net of 1.2 billion parameters and its decoder of 67 million:
2.6 GB in half precision), whose embeddings are those of `laion/CLIP-ViT-bigG-14-laion2B-39B-b160k`. Plan for
a GPU with 8 GB; a CPU takes minutes an image. There is no such generator for the CLIP of CLIP-Scope or of the
demo. Nothing is downloaded unless `load_kandinsky` is called. Tested with stand-ins; never yet with the real
weights.
"""

from typing import Any, NamedTuple, Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Float32
from PIL import Image

from scopeview.analysis.feature_edits import SteeredEmbeddings
from scopeview.errors import InputError
from scopeview.slots import EMBED, Layer

KANDINSKY = "kandinsky-community/kandinsky-2-2-decoder"
KANDINSKY_CLIP = "laion/CLIP-ViT-bigG-14-laion2B-39B-b160k"
_IMAGE_PX, _STEPS = 512, 30


@runtime_checkable
class Generator(Protocol):
    """Generates an image from an image embedding."""

    clip: str
    """The CLIP whose embeddings it was trained on, as a Hugging Face id."""
    projection: int
    """The width of these embeddings."""

    def draw(self, embedding: Float32[np.ndarray, " projection"], *, seed: int) -> Image.Image:
        """Draws a projected CLIP embedding, not of unit length. Equal arguments give equal images."""


class Drawn(NamedTuple):
    """The image's embedding without and with the edits, each drawn from the same noise."""

    before: Image.Image
    after: Image.Image


def draw_steered(
    generator: Generator, turned: SteeredEmbeddings, *, clip: str, layer: Layer, seed: int = 0
) -> Drawn:
    """Draws both images; `clip` and `layer` identify the embeddings. Raises `InputError` for another CLIP.

    The image without edits shows how well the generator reproduces the embedding; compare the other with it.
    """
    if layer != EMBED:
        raise InputError(f"layer {layer} is not the final embedding: only edits at `{EMBED}` can be drawn")
    if clip.partition("@")[0] != generator.clip:
        raise InputError(f"the generator draws embeddings of {generator.clip}, and these are of {clip}")
    if len(turned.after) != generator.projection:
        raise InputError(
            f"the embedding has {len(turned.after)} dimensions; the generator expects {generator.projection}"
        )
    return Drawn(*(generator.draw(embedding, seed=seed) for embedding in turned))


class Kandinsky:
    """Kandinsky 2.2's decoder, by `diffusers`."""

    clip = KANDINSKY_CLIP
    projection = 1280

    def __init__(self, pipeline: Any) -> None:
        self._pipeline = pipeline

    def draw(self, embedding: Float32[np.ndarray, " projection"], *, seed: int) -> Image.Image:
        wanted = torch.from_numpy(embedding)[None].to(self._pipeline.device, self._pipeline.dtype)
        drawn: Image.Image = self._pipeline(
            image_embeds=wanted,
            negative_image_embeds=torch.zeros_like(wanted),
            height=_IMAGE_PX,
            width=_IMAGE_PX,
            num_inference_steps=_STEPS,
            generator=torch.Generator("cpu").manual_seed(seed),
        ).images[0]
        return drawn


def load_kandinsky(ref: str = KANDINSKY, *, device: str = "cuda") -> Kandinsky:
    """Loads the generator; downloads missing weights. Raises `InputError` without `diffusers`."""
    try:
        import diffusers
    except ImportError as error:
        raise InputError("drawing embeddings needs diffusers: pip install 'scopeview[diffusion]'") from error
    dtype = torch.float32 if device == "cpu" else torch.float16
    pipeline = diffusers.KandinskyV22Pipeline.from_pretrained(ref, torch_dtype=dtype, use_safetensors=True)
    return Kandinsky(pipeline.to(device))
