"""What a scene with one thing is asked: prompts, of which one is right. Fixed before any model was measured.

kind             a heart, of 26 kinds
colour           something red, of 12 colours
kind and colour  a red heart, of all pairs
caption          the scene's own caption, among those of all the scenes asked about
"""

from collections.abc import Sequence
from typing import Literal, NamedTuple, get_args

from indexer.evaluation.concepts import concepts
from indexer.evaluation.scenes import COLOUR_NAMES, KINDS
from indexer.world import Scene

Question = Literal["kind", "colour", "kind and colour", "caption"]
QUESTIONS: tuple[Question, ...] = get_args(Question)


class ScenePrompts(NamedTuple):
    """Texts, each once, and for every scene the number of the one that is right of it."""

    texts: list[str]
    right: list[int]


def prompts_of(question: Question, scenes: Sequence[Scene]) -> ScenePrompts:
    """Of scenes with one thing each."""
    if question == "caption":
        texts = list(dict.fromkeys(scene.caption for scene in scenes))
        return ScenePrompts(texts, [texts.index(scene.caption) for scene in scenes])
    asked = [concept for concept in concepts() if concept.group == question]
    places = {(concept.kind, concept.colour): number for number, concept in enumerate(asked)}
    kinds = [KINDS.index(scene.largest.kind) if "kind" in question else None for scene in scenes]
    colours = [COLOUR_NAMES.index(scene.largest.colour) if "colour" in question else None for scene in scenes]
    return ScenePrompts(
        [str(concept.text) for concept in asked],
        [places[pair] for pair in zip(kinds, colours, strict=True)],
    )
