"""Steering: embeds an image without and with edits, and compares both with prompts."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from starlette.concurrency import run_in_threadpool

from app.engine.encoders import Vectors
from app.engine.fair_share import FairLimiter
from app.engine.text_encoders import EmbeddedText
from app.services.decomposition import computed_layers
from app.services.images import ImageRef
from app.services.model_requests import answers, cropped, model_place, refuse_absent, vectors_of
from app.services.retrieval import FoundImage, images_near
from app.state import AppState, OpenIndex
from scopeview.analysis.feature_edits import FeatureEdits, SteeredEmbeddings, zero_shot
from scopeview.errors import ModelError

N_NEAREST = 9


@dataclass(frozen=True)
class PromptChange:
    """One prompt's probability among all prompts, without and with the edits."""

    prompt: str
    before: float
    after: float


@dataclass(frozen=True)
class PromptEmbeddings:
    """Texts as vectors, one row each, or in words why there are none."""

    texts: Sequence[str]
    vectors: Vectors | None = None
    logit_scale: float = 1.0
    why_not: str | None = None
    unknown_words: Sequence[str] = ()  # of these texts, that the model does not know

    def changes(self, steered: SteeredEmbeddings) -> list[PromptChange]:
        if self.vectors is None:
            return []
        before, after = (
            zero_shot(embedding, self.vectors, self.logit_scale).tolist() for embedding in steered
        )
        return [PromptChange(*row) for row in zip(self.texts, before, after, strict=True)]


async def run_steered(
    site: AppState,
    index: OpenIndex,
    image: ImageRef,
    edits: FeatureEdits,
    decoding: FairLimiter,
) -> SteeredEmbeddings:
    """Runs the stored image without and with the edits. Raises `ProblemError`, and as `ImageRef.read`.

    The code is the one that the model computes of these very pixels, not the index's: an edit must take out
    what is really there.
    """
    refuse_absent(site, index)
    layers = await computed_layers(site, index, image, [edits.layer], decoding)
    found = layers[edits.layer]
    async with model_place(site):
        crop = await cropped(site, index, image, decoding)
        waiting = site.worker.call(index.reader.index_dir, lambda encoder: encoder.steer(crop, found, edits))
        (answer,) = await answers(site, [waiting])
    return answer


async def prompts_of(site: AppState, index: OpenIndex, texts: Sequence[str]) -> PromptEmbeddings:
    """Embeds the prompts. If one has no vector, none are compared: probabilities are among all of them."""
    if not texts:
        return PromptEmbeddings([])
    index_dir = index.reader.index_dir
    found = await vectors_of(site, index, texts)
    why_not = next(
        (f"{text!r}: {answer}" for text, answer in zip(texts, found, strict=True) if isinstance(answer, str)),
        None,
    )
    if why_not is not None:
        return PromptEmbeddings(texts, why_not=why_not)
    known = [answer for answer in found if isinstance(answer, EmbeddedText)]
    unknown = list(dict.fromkeys(word for answer in known for word in answer.unknown_words))
    try:
        scale = await run_in_threadpool(lambda: site.worker.encoder(index_dir).logit_scale)
    except ModelError:
        return PromptEmbeddings(texts, why_not="the model of this index has no logit scale")
    return PromptEmbeddings(
        texts, np.stack([answer.vector for answer in known]), scale, unknown_words=unknown
    )


class NearestImages(NamedTuple):
    """Indexed images by their distance to the image's embedding, nearest first."""

    before: list[FoundImage]
    after: list[FoundImage]


def nearest_images(index: OpenIndex, steered: SteeredEmbeddings, image_id: int | None) -> NearestImages:
    """Returns the nearest without and with the edits; leaves out `image_id`, the image itself if indexed."""
    return NearestImages(
        *(images_near(index, embedding, limit=N_NEAREST, without=image_id) for embedding in steered)
    )
