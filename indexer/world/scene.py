"""A scene: one picture of the world, its caption, and the truth about what is where."""

from dataclasses import dataclass
from typing import Any

from PIL import Image

from indexer.world.backgrounds import Background, paint_background
from indexer.world.canvas import CANVAS_PX, PICTURE_PX, SCALE, Canvas
from indexer.world.captions import caption_of
from indexer.world.draws import Draws
from indexer.world.geometry import Pose, bounds
from indexer.world.palette import COLOURS
from indexer.world.things import Kind, Thing, colouring, kinds

# Radius in canvas pixels, smallest and largest, by the number of things.
_RADII = {1: (96, 168), 2: (76, 118), 3: (62, 96), 4: (54, 84)}
_TRIES = 60


@dataclass(frozen=True)
class Scene:
    image: Image.Image
    """RGB, 128 x 128."""
    caption: str
    things: tuple[Thing, ...]
    """From back to front."""
    background: str
    tint: str | None
    """The background's colour, None where the kind has colours of its own."""

    def truth(self) -> dict[str, Any]:
        """For JSON."""
        things = [{"kind": one.kind, "colour": one.colour, "box": list(one.box)} for one in self.things]
        return {"things": things, "background": self.background, "tint": self.tint}


def make_scene(seed: int, number: int) -> Scene:
    """Scene `number` of world `seed`: the same pixels and words on every machine."""
    draws = Draws(seed, number)
    canvas, background = paint_background(draws)
    poses = _place(draws.choice((1, 1, 2, 2, 3, 4)), draws)
    things = tuple(_paint_thing(canvas, pose, background, draws) for pose in poses)
    caption = caption_of(things, background, draws)
    return Scene(canvas.picture(), caption, things, background.kind, background.tint)


def _place(n_things: int, draws: Draws) -> list[Pose]:
    """Discs that do not overlap; fewer than asked for where there is no room left."""
    poses: list[Pose] = []
    for _ in range(n_things * _TRIES):
        radius = draws.integer(*_RADII[n_things])
        x, y = (draws.integer(radius + 6, CANVAS_PX - radius - 6) for _ in range(2))
        if all((x - pose.x) ** 2 + (y - pose.y) ** 2 > (radius + pose.radius) ** 2 for pose in poses):
            poses.append(Pose(x, y, radius, 0, False))
        if len(poses) == n_things:
            break
    return sorted(poses, key=lambda pose: pose.y)


def _paint_thing(canvas: Canvas, pose: Pose, background: Background, draws: Draws) -> Thing:
    kind = kinds()[draws.choice(list(kinds()))]
    colour = draws.choice([name for name in COLOURS if name not in background.avoided])
    turn = draws.integer(-kind.max_turn_degrees, kind.max_turn_degrees)
    pose = pose._replace(turn_degrees=turn, mirrored=draws.one_in(2))
    _paint(canvas, kind, colour, pose)
    return Thing(kind.name, colour, _box(kind, pose))


def _paint(canvas: Canvas, kind: Kind, colour: str, pose: Pose) -> None:
    outlines = [pose.place(layer.outline) for layer in kind.layers]
    canvas.shadow(outlines)
    paints = colouring(colour)
    for layer, outline in zip(kind.layers, outlines, strict=True):
        canvas.draw.polygon(outline, fill=paints[layer.part])


def _box(kind: Kind, pose: Pose) -> tuple[int, int, int, int]:
    """Of the thing without its shadow, inside the picture."""
    points = [point for layer in kind.layers for point in pose.place(layer.outline)]
    left, top, right, bottom = bounds(points)
    return (
        max(0, int(left) // SCALE),
        max(0, int(top) // SCALE),
        min(PICTURE_PX, int(right) // SCALE + 1),
        min(PICTURE_PX, int(bottom) // SCALE + 1),
    )
