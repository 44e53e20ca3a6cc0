"""The effect of edits: prompts and nearest images before and after. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass

from app.pages.cards import ImageView, image_view
from app.services.retrieval import FoundImage
from app.services.steering import PromptEmbeddings, nearest_images
from app.state import OpenIndex
from scopeview.analysis.feature_edits import SteeredEmbeddings, cosine


@dataclass(frozen=True)
class PromptView:
    """One prompt's probability among all of them, without and with the edits."""

    prompt: str
    before: float
    after: float
    way: str  # `up`, `down`, or `same` where it moves by less than a thousandth


@dataclass(frozen=True)
class NearestImageView:
    """An indexed image near the image's embedding."""

    image: ImageView
    cosine: float
    alone: bool  # among these, and not among those on the other side


@dataclass(frozen=True)
class EffectView:
    """The effect of the edits: the model run without and with them."""

    cosine: float  # of the two embeddings
    prompts: list[PromptView]
    unknown_words: Sequence[str]  # of the prompts, that the model does not know
    why_no_prompts: str | None
    before: list[NearestImageView]  # nearest first
    after: list[NearestImageView]


def effect_view(
    index: OpenIndex, steered: SteeredEmbeddings, prompts: PromptEmbeddings, image_id: int | None
) -> EffectView:
    """Builds the view; `image_id` is the image itself, if it is indexed."""
    before, after = nearest_images(index, steered, image_id)
    return EffectView(
        cosine=cosine(steered.before, steered.after),
        prompts=[
            PromptView(change.prompt, change.before, change.after, _way(change.after - change.before))
            for change in prompts.changes(steered)
        ],
        unknown_words=prompts.unknown_words,
        why_no_prompts=prompts.why_not,
        before=_near(index, before, after),
        after=_near(index, after, before),
    )


def _way(difference: float) -> str:
    if abs(difference) < 1e-3:
        return "same"
    return "up" if difference > 0 else "down"


def _near(
    index: OpenIndex, these: Sequence[FoundImage], others: Sequence[FoundImage]
) -> list[NearestImageView]:
    there = {found.row.image_id for found in others}
    return [
        NearestImageView(image_view(index, found.row), found.score, found.row.image_id not in there)
        for found in these
    ]
