"""The procedural world: images of simple things, with captions and the truth about what is where."""

from indexer.world.kinds import Thing, check_kinds
from indexer.world.masks import mask_of
from indexer.world.scene import Scene, make_scene, make_twins
from indexer.world.write import write_world

__all__ = ["Scene", "Thing", "check_kinds", "make_scene", "make_twins", "mask_of", "write_world"]
