"""`scopeview eval clip`: how well a CLIP names the content of scenes it has never seen.

Zero-shot, by text prompts fixed here before any model was tested: each answer is the mean of its prompts'
embeddings, and the nearest answer counts. Images are preprocessed as for indexing.
"""

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import normalize

from indexer.world import Scene, make_scene
from indexer.world.backgrounds import background_kinds
from indexer.world.captions import a, place_prompts
from indexer.world.kinds import kinds
from indexer.world.palette import COLOURS
from scopeview.errors import InputError
from scopeview.progress import Task, task
from scopeview.vision.clip import Clip
from scopeview.vision.text import TextEncoder

_BATCH_SIZE = 32
AMONG = 100
"""The number of captions among which an image's own has to be found."""


class Accuracy(NamedTuple):
    """A share of right answers, and the share expected from guessing."""

    accuracy: float
    chance: float
    n: int


@dataclass(frozen=True)
class ClipMetrics:
    model: str
    seed: int
    kind: Accuracy
    colour: Accuracy
    background: Accuracy
    retrieval: Accuracy
    by_kind: dict[str, float]
    """Accuracy of the kind, by the true kind."""

    def as_json(self) -> dict[str, Any]:
        named = {"kind", "colour", "background", "retrieval"}
        figures = {name: getattr(self, name)._asdict() for name in sorted(named)}
        return {**{key: value for key, value in asdict(self).items() if key not in named}, **figures}


def evaluate_clip(model: str, *, seed: int, n_images: int = 500, device: str = "cpu") -> ClipMetrics:
    """Measures a CLIP on scenes of world `seed`: `n_images` with one thing, as many more for retrieval.

    Scenes for retrieval have any number of things. Training draws from worlds below zero, so none was seen.
    Raises `InputError` for fewer than 100 images, and as `Clip.load` does.
    """
    if n_images < AMONG:
        raise InputError(f"{n_images} images are too few: captions are sought among {AMONG}")
    clip = Clip.load(model, device=device)
    texts = TextEncoder.load(clip.folder, device=clip.device)
    single = [make_scene(seed, number, n_things=1) for number in range(n_images)]
    n_groups = n_images // AMONG
    many = [make_scene(seed, number) for number in range(n_images, n_images + n_groups * AMONG)]
    with task("look", len(single) + len(many), "scenes") as progress:
        seen, seen_many = (_embed_scenes(clip, scenes, progress) for scenes in (single, many))
    guesses = [_nearest(texts, seen, prompts) for prompts in _QUESTIONS]
    right = [
        [guess == truth(scene) for guess, scene in zip(found, single, strict=True)]
        for found, truth in zip(guesses, _TRUTHS, strict=True)
    ]
    kind, colour, background = (
        Accuracy(float(np.mean(hits)), 1 / len(prompts()), n_images)
        for hits, prompts in zip(right, _QUESTIONS, strict=True)
    )
    retrieval = Accuracy(_retrieval(texts, seen_many, many), 1 / AMONG, len(many))
    return ClipMetrics(model, seed, kind, colour, background, retrieval, _by_kind(right[0], single))


Prompts = Callable[[], dict[str, list[str]]]


def kind_prompts() -> dict[str, list[str]]:
    """The prompts for each kind."""
    return {
        kind: [kind, a(kind), f"a picture of {a(kind)}", *(a(f"{colour} {kind}") for colour in COLOURS)]
        for kind in kinds()
    }


def colour_prompts() -> dict[str, list[str]]:
    return {
        colour: [f"something {colour}", *(a(f"{colour} {kind}") for kind in kinds())] for colour in COLOURS
    }


def background_prompts() -> dict[str, list[str]]:
    return {kind: place_prompts(kind) for kind in background_kinds()}


_QUESTIONS: tuple[Prompts, ...] = (kind_prompts, colour_prompts, background_prompts)
_TRUTHS: tuple[Callable[[Scene], str], ...] = (
    lambda scene: scene.largest.kind,
    lambda scene: scene.largest.colour,
    lambda scene: scene.background,
)


def _nearest(texts: TextEncoder, images: Float[Tensor, "image projection"], prompts: Prompts) -> list[str]:
    """The answer nearest to each image."""
    answers = prompts()
    means = torch.stack([_embed(texts, words, images).mean(dim=0) for words in answers.values()])
    names = list(answers)
    return [names[best] for best in (images @ normalize(means, dim=1).T).argmax(dim=1).tolist()]


def _embed(texts: TextEncoder, words: Sequence[str], beside: Tensor) -> Float[Tensor, "text projection"]:
    """The texts' embeddings of unit length, on the device of `beside`."""
    return torch.from_numpy(texts.embed(words)).to(beside.device)


def _retrieval(
    texts: TextEncoder, images: Float[Tensor, "image projection"], scenes: Sequence[Scene]
) -> float:
    """Share of the images nearest to their own caption, among the captions of a group of a hundred images."""
    captions = _embed(texts, [scene.caption for scene in scenes], images)
    groups = (-1, AMONG, images.shape[1])
    cosines = images.reshape(groups) @ captions.reshape(groups).mT
    own = torch.arange(AMONG, device=cosines.device)
    return float((cosines.argmax(dim=2) == own).float().mean())


def _embed_scenes(clip: Clip, scenes: Sequence[Scene], progress: Task) -> Float[Tensor, "image projection"]:
    """The scenes' embeddings of unit length."""
    return torch.cat([normalize(found, dim=1) for found in _embedded(clip, scenes, progress)])


def _embedded(
    clip: Clip, scenes: Sequence[Scene], progress: Task
) -> Iterator[Float[Tensor, "batch projection"]]:
    for start in range(0, len(scenes), _BATCH_SIZE):
        crops = [clip.preprocessing.crop(scene.image) for scene in scenes[start : start + _BATCH_SIZE]]
        yield clip.forward(torch.from_numpy(np.stack(crops)), []).embedding
        progress.advance(len(crops))


def _by_kind(right: Sequence[bool], scenes: Sequence[Scene]) -> dict[str, float]:
    found = {
        kind: [hit for hit, scene in zip(right, scenes, strict=True) if scene.largest.kind == kind]
        for kind in kinds()
    }
    return {kind: round(float(np.mean(hits)), 4) for kind, hits in found.items() if hits}


def print_figures(found: ClipMetrics, *, as_json: bool) -> None:
    if as_json:
        print(json.dumps(found.as_json(), indent=1))
        return
    print(f"{found.model} on scenes of world {found.seed}, which it has not seen")
    print(f"{'':44}{'right':>8}{'chance':>8}{'scenes':>8}")
    rows = (
        ("kind of the object, by prompt", found.kind),
        ("colour of the object, by prompt", found.colour),
        ("kind of background, by prompt", found.background),
        (f"own caption among {AMONG}, by image", found.retrieval),
    )
    for name, figure in rows:
        print(f"{name:44}{figure.accuracy:8.1%}{figure.chance:8.1%}{figure.n:8}")
    hardest = sorted(found.by_kind.items(), key=lambda pair: pair[1])[:3]
    print("hardest kinds: " + ", ".join(f"{kind} {share:.0%}" for kind, share in hardest))
