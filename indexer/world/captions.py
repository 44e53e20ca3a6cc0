"""Describes a scene in words: its things and background, worded in several ways, never anything false.

A caption knows its claims, and a scene knows which claims are true of it. So code that compares captions with
images can tell a wrong caption from one that merely belongs to another image.
"""

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import permutations
from typing import NamedTuple

from indexer.world.backgrounds import Background, background_kinds, tinted_kinds
from indexer.world.kinds import Thing, kinds
from indexer.world.palette import COLOURS, TINTS
from indexer.world.sampling import RandomStream

_BACKDROPS: dict[str, tuple[str, ...]] = {
    "plain": ("on a plain {tint} background", "on {tint}", "on plain {tint} paper"),
    "stripes": ("on {tint} stripes", "in front of a striped {tint} wall", "on a striped {tint} background"),
    "dots": ("on {tint} polka dots", "on a dotted {tint} background", "on {tint} dots"),
    "checks": ("on {tint} checks", "on a checkered {tint} cloth", "on a checkered {tint} background"),
    "gradient": ("on a soft {tint} gradient", "before a fading {tint} background"),
    "noise": ("on mottled {tint} paper", "on a marbled {tint} background", "on {tint} noise"),
    "grass": ("on the grass", "in a green meadow"),
    "night": ("at night", "under a starry night sky"),
    "snow": ("in the snow", "on a white winter day"),
    "water": ("on the water", "over blue waves"),
}
# Backgrounds by themselves, as a visitor may search for them.
_PLACES: dict[str, tuple[str, ...]] = {
    "plain": ("a plain background", "a plain {tint} background", "plain {tint} paper"),
    "stripes": ("stripes", "striped background", "a striped wall", "{tint} stripes"),
    "dots": ("dots", "polka dots", "dotted background", "{tint} dots"),
    "checks": ("checks", "checkered background", "a checkered cloth", "{tint} checks"),
    "gradient": ("a gradient", "a soft gradient", "fading background", "{tint} gradient"),
    "noise": ("noise", "mottled paper", "marbled background", "{tint} noise"),
    "grass": ("grass", "a green meadow", "a meadow", "grass background"),
    "night": ("night", "night sky", "stars at night", "a starry sky"),
    "snow": ("snow", "a winter day", "white snow", "snow background"),
    "water": ("water", "waves", "blue waves", "blue water"),
}
_FRAMES = (
    "{what} {where}",
    "{what} {where}",
    "a picture of {what} {where}",
    "there is {what} {where}",
    "{where}: {what}",
    "{what}, {where}",
)
_BRIEF_FRAMES = ("{what}", "{what}", "a picture of {what}")
_NUMBERS = {2: "two", 3: "three", 4: "four"}
_PLURAL = re.compile(f"^there is (?=(?:{'|'.join(_NUMBERS.values())}) )")
_RELATIONS = ("to the left of", "to the right of", "above", "below")


class Caption(NamedTuple):
    text: str
    claims: frozenset[str]
    """The caption is true of an image if all of these are among the image's `facts_of`."""


def caption_of(things: Sequence[Thing], background: Background, random: RandomStream) -> Caption:
    """A caption of the whole scene: each thing with its colour, and the background with its tint."""
    where = random.choice(_BACKDROPS[background.kind]).format(tint=background.tint)
    frame = random.choice(_FRAMES)
    relation = relation_of(*things) if len(things) == 2 and random.one_in(2) else None
    claims = {_background_claim(background)}
    if relation is not None:
        first, second = (_name(thing) for thing in things)
        what = f"{a(first)} {relation} {a(second)}"
        claims.add(f"{first} {relation} {second}")
    else:
        what = _list(things)
        claims |= {f"{n} {name}" for name, n in Counter(map(_name, things)).items()}
    return Caption(frame.format(what=what, where=where), frozenset(claims))


def brief_caption_of(things: Sequence[Thing], background: Background, random: RandomStream) -> Caption:
    """A caption of one part, as in a search: a thing by kind, colour or both, or the background."""
    thing = random.choice(things)
    place = random.choice(_PLACES[background.kind])
    frame = random.choice(_BRIEF_FRAMES)
    word, claim = random.choice(
        (
            (a(thing.kind), f"1 {thing.kind}"),
            (thing.kind, f"1 {thing.kind}"),
            (a(_name(thing)), f"1 {_name(thing)}"),
            (f"something {thing.colour}", f"1 {thing.colour}"),
            (place.format(tint=background.tint), ""),
        )
    )
    if claim:
        return Caption(frame.format(what=word), frozenset({claim}))
    tinted = "{tint}" in place
    return Caption(frame.format(what=word), frozenset({_background_claim(background, tinted=tinted)}))


def thing_caption_of(thing: Thing, random: RandomStream) -> Caption:
    """A caption of a thing alone: its kind, its colour, or both."""
    name = _name(thing)
    word, fact = random.choice(
        (
            (a(thing.kind), thing.kind),
            (a(name), name),
            (name, name),
            (f"something {thing.colour}", thing.colour),
        )
    )
    return Caption(word, frozenset({f"1 {fact}"}))


def place_caption_of(background: Background, random: RandomStream) -> Caption:
    """A caption of a background alone, with or without its tint."""
    place = random.choice(_PLACES[background.kind])
    claim = _background_claim(background, tinted="{tint}" in place)
    return Caption(place.format(tint=background.tint), frozenset({claim}))


def with_plural_verb(text: str) -> str:
    """`there is two red cats` -> `there are two red cats`, for people who read it.

    Training captions keep the singular: the demo's model was trained on them, and its metrics come from them.
    """
    return _PLURAL.sub("there are ", text)


def facts_of(things: Sequence[Thing], background: Background) -> frozenset[str]:
    """Every claim that is true of the scene."""
    facts = place_facts_of(background)
    for words in (_name, lambda thing: thing.kind, lambda thing: thing.colour):
        counted = Counter(map(words, things))
        facts |= {f"{n} {name}" for name, count in counted.items() for n in range(1, count + 1)}
    for first, second in permutations(things, 2):
        if relation := relation_of(first, second):
            facts |= {f"{_name(first)} {relation} {_name(second)}"}
    return facts


def thing_facts_of(thing: Thing) -> frozenset[str]:
    """Every claim of a `thing_caption_of` that is true of the thing."""
    return frozenset(f"1 {fact}" for fact in (thing.kind, thing.colour, _name(thing)))


def place_facts_of(background: Background) -> frozenset[str]:
    """Every claim about the background that is true of it."""
    return frozenset(_background_claim(background, tinted=tinted) for tinted in (True, False))


def relation_of(first: Thing, second: Thing) -> str | None:
    """The relation of the first thing to the second, in words; None if it is not clear."""
    (left, top, right, bottom), (left2, top2, right2, bottom2) = first.box, second.box
    if right <= left2:
        return _RELATIONS[0]
    if right2 <= left:
        return _RELATIONS[1]
    if bottom <= top2:
        return _RELATIONS[2]
    return _RELATIONS[3] if bottom2 <= top else None


def place_prompts(background: str) -> list[str]:
    """Phrases that name a kind of background, in every tint if it has one."""
    return list(dict.fromkeys(place.format(tint=tint) for place in _PLACES[background] for tint in TINTS))


def vocabulary() -> list[str]:
    """Every distinct word and punctuation mark that a caption can have, in a fixed order."""
    templates = [*sum(_BACKDROPS.values(), ()), *sum(_PLACES.values(), ()), *_FRAMES, *_RELATIONS]
    found = [word for template in templates for word in _words(template)]
    names = [*kinds(), *map(_plural, kinds()), *COLOURS, *TINTS, *_BACKDROPS]
    return list(dict.fromkeys([*["an", "and", "something", ",", ":"], *_NUMBERS.values(), *found, *names]))


def _words(template: str) -> Iterator[str]:
    for word in template.replace(",", " ,").replace(":", " :").split():
        if "{" not in word:
            yield word


def _background_claim(background: Background, *, tinted: bool = True) -> str:
    return (
        f"on {background.tint} {background.kind}" if tinted and background.tint else f"on {background.kind}"
    )


def _list(things: Sequence[Thing]) -> str:
    counted = Counter(map(_name, things))
    *most, last = [a(name) if n == 1 else f"{_NUMBERS[n]} {_plural(name)}" for name, n in counted.items()]
    return f"{', '.join(most)} and {last}" if most else last


def _name(thing: Thing) -> str:
    return f"{thing.colour} {thing.kind}"


def a(name: str) -> str:
    """The name with its indefinite article."""
    return f"{'an' if name[0] in 'aeiou' else 'a'} {name}"


def _plural(name: str) -> str:
    if name.endswith("fish"):
        return name
    if name.endswith("butterfly"):
        return f"{name[:-1]}ies"
    return f"{name}s"


def world_vocabulary() -> list[str]:
    """Phrases for kinds, colours, coloured kinds, backgrounds, tints and tinted backgrounds.

    They use the captions' words (`something red`, not `red`): a CLIP trained on captions knows no others.
    """
    return [
        *map(a, kinds()),
        *(f"something {colour}" for colour in COLOURS),
        *(a(f"{colour} {kind}") for kind in kinds() for colour in COLOURS),
        *(place_prompts(kind)[0] for kind in background_kinds()),
        *(a(f"{tint} background") for tint in TINTS),
        *(_tinted(kind, tint) for kind in tinted_kinds() for tint in TINTS),
    ]


def _tinted(kind: str, tint: str) -> str:
    return next(prompt for prompt in place_prompts(kind) if tint in prompt.split())
