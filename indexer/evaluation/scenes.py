"""The content of each scene of an index, as arrays: the ground truth for features.

An index does not store the truth. It is generated again from the world's seed, scene by scene; an image's key
is the number of its scene, and a different caption reveals a different world. Knows nothing of features.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields

import numpy as np
from jaxtyping import Bool, Int8, Int64

from indexer.world import Scene, make_scene
from indexer.world.backgrounds import background_kinds
from indexer.world.canvas import IMAGE_PX
from indexer.world.kinds import kinds
from indexer.world.masks import Mask
from indexer.world.palette import COLOURS, TINTS
from indexer.world.scene_objects import MAX_THINGS
from scopeview.errors import InputError
from scopeview.store.reader import IndexReader

KINDS: tuple[str, ...] = tuple(kinds())
COLOUR_NAMES: tuple[str, ...] = tuple(COLOURS)
BACKGROUNDS: tuple[str, ...] = tuple(background_kinds())
TINT_NAMES: tuple[str, ...] = tuple(TINTS)
ABSENT = -1
N_THIRDS = 3


@dataclass(frozen=True)
class SceneTruths:
    """The content of some scenes. Numbers index the tuples above; `ABSENT`: no such object, or no tint.

    Things go from back to front, patches row by row from the top left.
    """

    kinds: Int8[np.ndarray, "scene thing=4"]
    colours: Int8[np.ndarray, "scene thing=4"]
    backgrounds: Int8[np.ndarray, " scene"]
    tints: Int8[np.ndarray, " scene"]
    rows: Int8[np.ndarray, " scene"]
    """0, 1 or 2: the third of the image, from the top, with the middle of the largest thing's box."""
    columns: Int8[np.ndarray, " scene"]
    """0, 1 or 2: the third of the image, from the left, with the middle of the largest thing's box."""
    centred: Bool[np.ndarray, "scene thing=4 patch"]
    """True if the thing is visible at the patch's middle."""
    touched: Bool[np.ndarray, "scene thing=4 patch"]
    """True if the thing is visible in at least one pixel of the patch."""

    def __len__(self) -> int:
        return len(self.kinds)

    @property
    def n_things(self) -> Int64[np.ndarray, " scene"]:
        n_things: Int64[np.ndarray, " scene"] = (self.kinds != ABSENT).sum(axis=1)
        return n_things


def indexed_scenes(reader: IndexReader, seed: int) -> Iterator[Scene]:
    """The scene of every image, by image id. Raises `InputError` if an image is not of that world."""
    for key, caption in reader.sql("SELECT key, caption FROM images ORDER BY image_id"):
        name = key.rsplit("/", 1)[-1]
        if not name.isdecimal():
            raise InputError(f"the key of image {key!r} ends in no number: this is no index of a world")
        scene = make_scene(seed, int(name))
        if caption not in (scene.written_caption, scene.caption):  # older worlds have the latter
            raise InputError(
                f"image {key!r} ({caption!r}) is not scene {int(name)} of world {seed} "
                f"({scene.written_caption!r}); "
                "--seed is that of the `demo-images` that drew the index's scenes"
            )
        yield scene


def scene_truth(scene: Scene, grid: int) -> SceneTruths:
    """The content of one scene; `grid` is the number of patches along one side of the image."""
    left, top, right, bottom = scene.largest.box
    masks = [*scene.masks, *[np.zeros((IMAGE_PX, IMAGE_PX), dtype=bool)] * MAX_THINGS][:MAX_THINGS]
    return SceneTruths(
        kinds=_things([KINDS.index(thing.kind) for thing in scene.things]),
        colours=_things([COLOUR_NAMES.index(thing.colour) for thing in scene.things]),
        backgrounds=np.array([BACKGROUNDS.index(scene.background)], dtype=np.int8),
        tints=np.array([ABSENT if scene.tint is None else TINT_NAMES.index(scene.tint)], dtype=np.int8),
        rows=np.array([_third(top, bottom)], dtype=np.int8),
        columns=np.array([_third(left, right)], dtype=np.int8),
        centred=np.stack([_centred(mask, grid) for mask in masks])[None],
        touched=np.stack([_touched(mask, grid) for mask in masks])[None],
    )


def concatenate_truths(parts: Sequence[SceneTruths]) -> SceneTruths:
    """Concatenates the truths of one or more parts, in order."""
    names = [field.name for field in fields(SceneTruths)]
    return SceneTruths(**{name: np.concatenate([getattr(part, name) for part in parts]) for name in names})


def _things(numbers: Sequence[int]) -> Int8[np.ndarray, "scene=1 thing=4"]:
    return np.array([[*numbers, *[ABSENT] * (MAX_THINGS - len(numbers))]], dtype=np.int8)


def _third(start_px: int, end_px: int) -> int:
    return min(N_THIRDS - 1, (start_px + end_px) * N_THIRDS // (2 * IMAGE_PX))


def _centred(mask: Mask, grid: int) -> Bool[np.ndarray, " patch"]:
    """True for patches with the mask at their middle: the pixel just right of and below the exact middle."""
    middles = (2 * np.arange(grid) + 1) * IMAGE_PX // (2 * grid)
    return mask[np.ix_(middles, middles)].ravel()


def _touched(mask: Mask, grid: int) -> Bool[np.ndarray, " patch"]:
    patches = np.zeros((grid, grid), dtype=bool)
    rows, columns = (pixels * grid // IMAGE_PX for pixels in np.nonzero(mask))
    patches[rows, columns] = True
    return patches.ravel()
