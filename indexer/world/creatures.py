"""Kinds of living things: plants and animals."""

from indexer.world.geometry import Outline, arc, box, disc, ellipse, mirrored, rotated
from indexer.world.kind import Kind, Layer


def plants() -> list[Kind]:
    return [_flower(), _tree(), _mushroom(), _apple()]


def animals() -> list[Kind]:
    return [_fish(), _butterfly(), _cat(), _bird(), _face()]


def _flower() -> Kind:
    petals = (rotated(ellipse(0, -0.72, 0.2, 0.3), turn, (0, -0.28)) for turn in range(0, 360, 60))
    layers = (
        Layer("leaf", box(-0.06, -0.2, 0.06, 0.98)),
        Layer("leaf", ellipse(0.26, 0.62, 0.28, 0.12, -32)),
        Layer("leaf", ellipse(-0.24, 0.74, 0.26, 0.11, 30)),
        *(Layer("main", petal) for petal in petals),
        Layer("accent", disc(0, -0.28, 0.2)),
    )
    return Kind("flower", layers, 10)


def _tree() -> Kind:
    layers = (
        Layer("wood", ((-0.12, 0.2), (0.12, 0.2), (0.18, 0.98), (-0.18, 0.98))),
        Layer("dark", disc(0.38, 0.06, 0.44)),
        Layer("main", disc(-0.36, 0.08, 0.44)),
        Layer("main", disc(0.04, -0.38, 0.56)),
        Layer("light", disc(-0.14, -0.52, 0.2)),
    )
    return Kind("tree", layers, 4)


def _mushroom() -> Kind:
    layers = (
        Layer("paper", ((-0.2, 0.0), (0.2, 0.0), (0.3, 0.92), (-0.3, 0.92))),
        Layer("main", (*arc(0, 0.12, 0.95, 0.98, 180, 360), *arc(0, 0.12, 0.95, 0.2, 0, 180))),
        Layer("paper", disc(-0.42, -0.2, 0.15)),
        Layer("paper", disc(0.12, -0.5, 0.18)),
        Layer("paper", disc(0.52, -0.1, 0.13)),
    )
    return Kind("mushroom", layers, 8)


def _apple() -> Kind:
    layers = (
        Layer("wood", ((-0.05, -0.4), (0.04, -0.4), (0.18, -0.86), (0.06, -0.9))),
        Layer("leaf", ellipse(0.4, -0.74, 0.28, 0.13, -24)),
        Layer("main", ellipse(-0.32, 0.16, 0.52, 0.68, -6)),
        Layer("main", ellipse(0.32, 0.16, 0.52, 0.68, 6)),
        Layer("light", ellipse(-0.46, -0.1, 0.12, 0.22, 18)),
    )
    return Kind("apple", layers, 12)


def _fish() -> Kind:
    layers = (
        Layer("dark", ((-0.4, 0), (-0.98, -0.5), (-0.84, 0), (-0.98, 0.5))),
        Layer("dark", ((-0.2, -0.36), (0.1, -0.74), (0.42, -0.34))),
        Layer("main", ellipse(0.18, 0, 0.76, 0.48)),
        Layer("light", ellipse(0.1, 0.12, 0.26, 0.16, 12)),
        Layer("paper", disc(0.6, -0.12, 0.13)),
        Layer("ink", disc(0.63, -0.12, 0.07)),
    )
    return Kind("fish", layers, 12)


def _butterfly() -> Kind:
    wing, lower = ellipse(0.5, -0.36, 0.42, 0.5, 28), ellipse(0.4, 0.4, 0.32, 0.4, -30)
    spot = disc(0.54, -0.4, 0.16)
    layers = (
        *(Layer("dark", outline) for outline in (lower, mirrored(lower))),
        *(Layer("main", outline) for outline in (wing, mirrored(wing))),
        *(Layer("light", outline) for outline in (spot, mirrored(spot))),
        Layer("ink", ellipse(0, 0.02, 0.09, 0.62)),
    )
    return Kind("butterfly", layers, 25)


def _cat() -> Kind:
    ear: Outline = ((0.2, -0.5), (0.74, -0.98), (0.82, -0.1))
    inner: Outline = ((0.42, -0.5), (0.66, -0.74), (0.7, -0.3))
    eye, whisker = ellipse(0.32, -0.02, 0.1, 0.15), ((0.34, 0.36), (0.94, 0.24), (0.94, 0.29), (0.34, 0.41))
    layers = (
        *(Layer("main", outline) for outline in (ear, mirrored(ear))),
        *(Layer("light", outline) for outline in (inner, mirrored(inner))),
        Layer("main", ellipse(0, 0.15, 0.86, 0.74)),
        *(Layer("ink", outline) for outline in (eye, mirrored(eye), whisker, mirrored(whisker))),
        Layer("light", ellipse(0, 0.4, 0.3, 0.2)),
        Layer("ink", ((-0.1, 0.26), (0.1, 0.26), (0, 0.4))),
    )
    return Kind("cat", layers, 8)


def _bird() -> Kind:
    leg = ((0.02, 0.5), (0.08, 0.5), (0.06, 0.86), (0.2, 0.92), (-0.08, 0.92), (0.0, 0.86))
    layers = (
        *(Layer("wood", tuple((x + dx, y) for x, y in leg)) for dx in (-0.16, 0.14)),
        Layer("dark", ((-0.44, 0.02), (-0.99, -0.32), (-0.92, 0.0), (-0.98, 0.16), (-0.4, 0.34))),
        Layer("accent", ((0.68, -0.52), (0.99, -0.36), (0.66, -0.26))),
        Layer("main", ellipse(-0.02, 0.14, 0.62, 0.42, -14)),
        Layer("main", disc(0.44, -0.4, 0.36)),
        Layer("dark", (*arc(-0.12, 0.08, 0.4, 0.4, 0, 180), (-0.56, -0.06))),
        Layer("paper", disc(0.54, -0.48, 0.11)),
        Layer("ink", disc(0.56, -0.48, 0.06)),
    )
    return Kind("bird", layers, 10)


def _face() -> Kind:
    """A smiling face, as on a badge."""
    smile = arc(0, 0.08, 0.56, 0.54, 8, 172) + arc(0, 0.08, 0.46, 0.36, 172, 8)
    eye, cheek = ellipse(0.3, -0.24, 0.11, 0.18), disc(0.62, 0.14, 0.13)
    layers = (
        Layer("main", disc(0, 0, 0.94)),
        *(Layer("light", outline) for outline in (cheek, mirrored(cheek))),
        *(Layer("ink", outline) for outline in (eye, mirrored(eye), smile)),
    )
    return Kind("face", layers, 12)
