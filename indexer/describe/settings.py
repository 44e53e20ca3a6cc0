"""Every number that shapes the descriptions. The manifest records them; other numbers give another file."""

from dataclasses import dataclass

from scopeview.store.records import MIN_GRID_IMAGES


@dataclass(frozen=True)
class DescribeSettings:
    """Two runs over the same index with equal settings and vocabulary describe it alike."""

    version: int = 1  # of the code that works the descriptions out
    min_images: int = MIN_GRID_IMAGES  # a feature that fires on fewer is given no names, neighbours or place
    n_clarity: int = 9  # top images whose likeness is the clarity
    n_names: int = 5
    templates: tuple[str, ...] = ("{}", "a picture of {}", "a photo of {}")
    fold_cosine: float = 0.9  # two pictures are nearly the same when their embeddings are at least so alike
    fold_bits: int = 10  # and their 64-bit perceptual hashes differ in at most so many bits
    n_within: int = 8  # neighbours of each kind in the same layer
    n_across: int = 3  # neighbours of each kind in each other layer
    cofiring_products: int = 10_000_000_000  # a pair of layers; past it only every n-th image is counted
    perplexity: int = 30  # about how many neighbours a point of the map keeps
    map_iterations: int = 750
    seed: int = 0
