"""Kinds that are plain shapes, and what hangs in the sky."""

from indexer.world.geometry import arc, box, burst, disc, heart
from indexer.world.kind import Kind, Layer


def shapes() -> list[Kind]:
    ring = arc(0, 0, 0.92, 0.92, 0, 360) + arc(0, 0, 0.5, 0.5, 360, 0)
    return [
        Kind("circle", (Layer("main", disc(0, 0, 0.9)),), 0),
        Kind("square", (Layer("main", box(-0.78, -0.78, 0.78, 0.78)),), 30),
        Kind("triangle", (Layer("main", ((0, -0.92), (0.95, 0.75), (-0.95, 0.75))),), 40),
        Kind("diamond", (Layer("main", ((0, -0.98), (0.66, 0), (0, 0.98), (-0.66, 0))),), 12),
        Kind("star", (Layer("main", burst(0, 0.06, 1.0, 0.44, 5)),), 36),
        Kind("heart", (Layer("main", heart()),), 16),
        Kind("ring", (Layer("main", ring),), 0),
    ]


def sky() -> list[Kind]:
    crescent = arc(0, 0, 0.95, 0.95, 50, 310) + arc(0.35, 0, 0.76, 0.76, 289, 71)
    sun = (Layer("dark", burst(0, 0, 1.0, 0.7, 12)), Layer("main", disc(0, 0, 0.62)))
    puffs = ((-0.52, 0.18, 0.4), (-0.12, -0.14, 0.52), (0.42, 0.06, 0.44), (0.62, 0.3, 0.28))
    cloud = (box(-0.52, 0.12, 0.62, 0.58), *(disc(*puff) for puff in puffs))
    return [
        Kind("moon", (Layer("main", crescent),), 35),
        Kind("sun", sun, 15),
        Kind("cloud", tuple(Layer("main", outline) for outline in cloud), 6),
    ]
