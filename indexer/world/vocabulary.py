"""The words for everything in the world, as its captions have them: what its features may be named after."""

from indexer.world.backgrounds import background_kinds, tinted_kinds
from indexer.world.captions import a, place_prompts
from indexer.world.kinds import kinds
from indexer.world.palette import COLOURS, TINTS


def world_vocabulary() -> list[str]:
    """Kinds, colours, coloured kinds, backgrounds, tints and tinted backgrounds.

    In the captions' own words (`something red`, not `red`): a CLIP that learned from them knows no others.
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
