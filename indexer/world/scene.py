"""A scene: one image of the world, its caption, and the truth about what is where."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from PIL import Image

from indexer.world.backgrounds import MAX_AVOIDED, Background, paint_background
from indexer.world.canvas import Silhouette, paint
from indexer.world.captions import Caption, brief_caption_of, caption_of, facts_of, with_plural_verb
from indexer.world.kinds import Thing, colouring
from indexer.world.kinds import kinds as all_kinds
from indexer.world.masks import Mask, runs_of, visible_masks
from indexer.world.palette import COLOURS
from indexer.world.sampling import RandomStream
from indexer.world.scene_objects import Difference, SceneObject, TwinChange, choose_objects
from scopeview.errors import InputError

_FIRST = TwinChange("kind", 0)


@dataclass(frozen=True)
class Scene:
    seed: int
    number: int
    image: Image.Image
    """RGB, 128 x 128."""
    full_caption: Caption
    things: tuple[Thing, ...]
    """The things, from back to front."""
    backdrop: Background
    silhouettes: tuple[Silhouette, ...]

    @property
    def caption(self) -> str:
        """The caption as used for training."""
        return self.full_caption.text

    @property
    def written_caption(self) -> str:
        """The caption as written into a data set, for people."""
        return with_plural_verb(self.caption)

    @property
    def background(self) -> str:
        return self.backdrop.kind

    @property
    def tint(self) -> str | None:
        """The background's tint; None if the kind has colours of its own."""
        return self.backdrop.tint

    @cached_property
    def masks(self) -> list[Mask]:
        """The visible part of each object."""
        return visible_masks(self.silhouettes)

    @property
    def largest(self) -> Thing:
        """The thing with the largest visible area; of equals the one further back."""
        areas = [int(mask.sum()) for mask in self.masks]
        return self.things[areas.index(max(areas))]

    def brief_caption(self) -> Caption:
        """A part of the truth, as a visitor may search for it. The same at every call."""
        return brief_caption_of(self.things, self.backdrop, RandomStream(self.seed, self.number, "brief"))

    def facts(self) -> frozenset[str]:
        """Every claim of a caption that is true of this scene."""
        return facts_of(self.things, self.backdrop)

    def truth(self) -> dict[str, Any]:
        """The truth as JSON values. `masks.mask_of` reads the masks."""
        things = [
            {"kind": thing.kind, "colour": thing.colour, "box": list(thing.box), "mask": runs_of(mask)}
            for thing, mask in zip(self.things, self.masks, strict=True)
        ]
        return {"things": things, "background": self.background, "tint": self.tint}


def make_scene(
    seed: int, number: int, *, kinds: Sequence[str] | None = None, n_things: int | None = None
) -> Scene:
    """Makes scene `number` of world `seed`: the same pixels and words on every machine.

    Its things are of the given kinds (as returned by `kinds.check_kinds`), by default of any. There are
    `n_things`, by default one to four.
    """
    return _make(seed, number, kinds or list(all_kinds()), n_things, _FIRST)


def make_twins(
    seed: int, number: int, n: int, difference: Difference, *, n_things: int | None = None
) -> list[Scene]:
    """Makes `n` scenes that differ only in the kind (or colour) of one thing; even captions are worded alike.

    The first is the scene that `make_scene` makes; all have different kinds (colours) there. Raises
    `InputError` if the world has too few of them.
    """
    if not 1 <= n <= (most := most_twins(difference)):
        raise InputError(f"{n} scenes cannot all differ in {difference} alone: 1 to {most} can")
    names = list(all_kinds())
    return [_make(seed, number, names, n_things, TwinChange(difference, twin)) for twin in range(n)]


def most_twins(difference: Difference) -> int:
    """The largest possible number of twins; for colours, on the background that excludes the most of them."""
    return len(all_kinds()) if difference == "kind" else len(COLOURS) - MAX_AVOIDED


def _make(seed: int, number: int, names: Sequence[str], n_things: int | None, change: TwinChange) -> Scene:
    random = RandomStream(seed, number)
    image, backdrop = paint_background(random)
    drawn = random.choice((1, 1, 2, 2, 3, 4))
    colours = [name for name in COLOURS if name not in backdrop.avoided]
    scene_objects = choose_objects(random, n_things or drawn, names, colours, change)
    silhouettes = tuple(_paint(image, scene_object) for scene_object in scene_objects)
    things = tuple(
        Thing(scene_object.kind.name, scene_object.colour, silhouette.box)
        for scene_object, silhouette in zip(scene_objects, silhouettes, strict=True)
    )
    return Scene(seed, number, image, caption_of(things, backdrop, random), things, backdrop, silhouettes)


def _paint(image: Image.Image, scene_object: SceneObject) -> Silhouette:
    paints = colouring(scene_object.colour, scene_object.main)
    colours = [paints[layer.part] for layer in scene_object.kind.layers]
    return paint(image, scene_object.pose.place(scene_object.kind.points), scene_object.kind.ends, colours)
