"""Kinds of man-made things."""

from indexer.world.geometry import arc, box, disc, ellipse, mirrored
from indexer.world.kind import Kind, Layer


def man_made_kinds() -> list[Kind]:
    return [_house(), _boat(), _balloon(), _cup(), _car(), _umbrella(), _rocket()]


def _house() -> Kind:
    layers = (
        Layer("dark", box(0.36, -0.84, 0.58, -0.2)),
        Layer("main", box(-0.72, -0.12, 0.72, 0.92)),
        Layer("dark", ((-0.98, -0.04), (0, -0.92), (0.98, -0.04))),
        Layer("dark", box(-0.16, 0.34, 0.2, 0.92)),
        Layer("paper", box(-0.56, 0.14, -0.28, 0.44)),
        Layer("paper", box(0.32, 0.14, 0.6, 0.44)),
    )
    return Kind("house", layers, 5)


def _boat() -> Kind:
    layers = (
        Layer("wood", box(-0.05, -0.95, 0.05, 0.4)),
        Layer("paper", ((0.12, -0.86), (0.84, 0.24), (0.12, 0.24))),
        Layer("light", ((-0.12, -0.6), (-0.12, 0.24), (-0.66, 0.24))),
        Layer("main", ((-0.98, 0.36), (0.98, 0.36), (0.62, 0.9), (-0.66, 0.9))),
    )
    return Kind("boat", layers, 8)


def _balloon() -> Kind:
    layers = (
        Layer("ink", ((-0.02, 0.5), (0.03, 0.5), (0.1, 0.76), (0.03, 0.99), (-0.02, 0.99), (0.04, 0.76))),
        Layer("dark", ((0, 0.38), (0.13, 0.6), (-0.13, 0.6))),
        Layer("main", ellipse(0, -0.26, 0.62, 0.72)),
        Layer("light", ellipse(-0.24, -0.5, 0.11, 0.2, 24)),
    )
    return Kind("balloon", layers, 10)


def _cup() -> Kind:
    handle = arc(0.42, 0.08, 0.5, 0.46, -90, 90) + arc(0.42, 0.08, 0.28, 0.24, 90, -90)
    rounded_foot = (*arc(0.3, 0.6, 0.26, 0.26, 0, 90), *arc(-0.52, 0.6, 0.26, 0.26, 90, 180))
    layers = (
        Layer("dark", handle),
        Layer("main", ((-0.82, -0.6), (0.6, -0.6), *rounded_foot)),
        Layer("dark", ellipse(-0.11, -0.6, 0.71, 0.18)),
        Layer("wood", ellipse(-0.11, -0.56, 0.58, 0.11)),
    )
    return Kind("cup", layers, 8)


def _car() -> Kind:
    bonnet = (*arc(-0.8, 0.16, 0.18, 0.2, 180, 270, 8), *arc(0.76, 0.2, 0.22, 0.24, 270, 360, 8))
    layers = (
        Layer("dark", ((-0.66, -0.02), (-0.42, -0.52), (0.28, -0.52), (0.62, -0.02))),
        Layer("paper", ((-0.46, -0.04), (-0.33, -0.4), (-0.09, -0.4), (-0.09, -0.04))),
        Layer("paper", ((0.03, -0.04), (0.03, -0.4), (0.22, -0.4), (0.44, -0.04))),
        Layer("main", (*bonnet, (0.98, 0.5), (-0.98, 0.5))),
        Layer("accent", ellipse(0.88, 0.2, 0.08, 0.1)),
        *(Layer("ink", disc(x, 0.5, 0.27)) for x in (-0.5, 0.5)),
        *(Layer("paper", disc(x, 0.5, 0.12)) for x in (-0.5, 0.5)),
    )
    return Kind("car", layers, 8)


def _umbrella() -> Kind:
    scallops = tuple(point for x in (0.64, 0, -0.64) for point in arc(x, 0.08, 0.32, 0.16, 360, 180, 12))
    middle = (*arc(0, 0.08, 0.32, 1.0, 180, 360), *arc(0, 0.08, 0.32, 0.16, 360, 180, 12))
    hook = arc(0.19, 0.7, 0.24, 0.26, 180, 0, 16) + arc(0.19, 0.7, 0.13, 0.15, 0, 180, 16)
    layers = (
        Layer("wood", box(-0.05, -0.99, 0.05, 0.7)),
        Layer("wood", hook),
        Layer("main", (*arc(0, 0.08, 0.96, 1.0, 180, 360), *scallops)),
        Layer("dark", middle),
    )
    return Kind("umbrella", layers, 18)


def _rocket() -> Kind:
    fin = ((0.26, 0.12), (0.66, 0.5), (0.62, 0.8), (0.2, 0.56))
    side = (*arc(-0.44, 0.1, 0.84, 1.24, 302, 360, 12), (0.22, 0.64))
    layers = (
        Layer("accent", ((-0.16, 0.6), (0.16, 0.6), (0.1, 0.86), (0, 0.99), (-0.1, 0.86))),
        Layer("dark", fin),
        Layer("dark", mirrored(fin)),
        Layer("main", (*side, *reversed(mirrored(side)))),
        Layer("paper", disc(0, -0.2, 0.19)),
        Layer("dark", disc(0, -0.2, 0.12)),
    )
    return Kind("rocket", layers, 30)
