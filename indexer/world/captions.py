"""A scene in words: what is there and on what, worded in several ways, never saying what is not so."""

from collections import Counter
from collections.abc import Sequence

from indexer.world.backgrounds import Background
from indexer.world.draws import Draws
from indexer.world.things import Thing

_BACKDROPS: dict[str, tuple[str, ...]] = {
    "plain": ("on a plain {tint} background", "on {tint}"),
    "stripes": ("on {tint} stripes", "in front of a striped {tint} wall"),
    "dots": ("on {tint} polka dots", "on a dotted {tint} background"),
    "checks": ("on {tint} checks", "on a checkered {tint} cloth"),
    "gradient": ("on a soft {tint} gradient", "before a fading {tint} background"),
    "noise": ("on mottled {tint} paper", "on a marbled {tint} background"),
    "grass": ("on the grass", "in a green meadow"),
    "night": ("at night", "under a starry night sky"),
    "water": ("on the water", "over blue waves"),
}
_FRAMES = (
    "{what} {where}",
    "{what} {where}",
    "a picture of {what} {where}",
    "{where}: {what}",
    "{what}, {where}",
)
_NUMBERS = {2: "two", 3: "three", 4: "four"}


def caption_of(things: Sequence[Thing], background: Background, draws: Draws) -> str:
    where = draws.choice(_BACKDROPS[background.kind]).format(tint=background.tint)
    frame = draws.choice(_FRAMES)
    relation = _relation(things) if len(things) == 2 and draws.one_in(2) else None
    if relation is not None:
        what = f"{_a(_name(things[0]))} {relation} {_a(_name(things[1]))}"
    else:
        what = _list(things)
    return frame.format(what=what, where=where)


def _relation(things: Sequence[Thing]) -> str | None:
    """Where the first of two is, seen from the second; None where that is not clear."""
    (left, top, right, bottom), (left2, top2, right2, bottom2) = (thing.box for thing in things)
    if right <= left2:
        return "to the left of"
    if right2 <= left:
        return "to the right of"
    if bottom <= top2:
        return "above"
    return "below" if bottom2 <= top else None


def _list(things: Sequence[Thing]) -> str:
    counted = Counter(map(_name, things))
    *most, last = [_a(name) if n == 1 else f"{_NUMBERS[n]} {_plural(name)}" for name, n in counted.items()]
    return f"{', '.join(most)} and {last}" if most else last


def _name(thing: Thing) -> str:
    return f"{thing.colour} {thing.kind}"


def _a(name: str) -> str:
    return f"{'an' if name[0] in 'aeiou' else 'a'} {name}"


def _plural(name: str) -> str:
    if name.endswith("fish"):
        return name
    if name.endswith("butterfly"):
        return f"{name[:-1]}ies"
    return f"{name}s"
