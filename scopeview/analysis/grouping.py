"""Groups of an image's active features: iterated spherical k-means, weighted by activation mass.

Each feature is represented by the direction of its decoder row and weighted by its mass. Features are
clustered for a range of k; the largest k for which every group holds the threshold's share of all mass is
kept. If there are very many features, the heaviest are clustered, and the others join the nearest group.
Knows vectors and weights, not what they represent. The same input always gives the same groups.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32, Float64, Int64, Shaped

MAX_GROUPS = 20
THRESHOLD = 0.05
"""The default minimum share of the mass that every group holds."""

_MAX_ROUNDS = 100
_MAX_CLUSTERED = 768  # a whole image at full size has thousands of active features, most of them light
_N_SEEDS = 2


@dataclass(frozen=True)
class Group:
    """A group of features, heaviest first; `share` is its share of all mass."""

    features: Int64[np.ndarray, " member"]
    masses: Float64[np.ndarray, " member"]
    share: float


@dataclass(frozen=True)
class Clusters:
    """`owners` holds each point's cluster, one of `k`; every cluster has at least one point.

    `similarity` is the weighted mean cosine of a point and its cluster's centre.
    """

    owners: Int64[np.ndarray, " point"]
    k: int
    similarity: float


def group_features(
    features: Shaped[np.ndarray, " feature"],
    masses: Shaped[np.ndarray, " feature"],
    directions: Shaped[np.ndarray, "feature d_in"],
    *,
    threshold: float = THRESHOLD,
    most_groups: int = MAX_GROUPS,
) -> list[Group]:
    """Divides the active features into groups, heaviest group first. Their shares sum to one.

    `directions` are decoder rows of any length. `threshold` is above 0 and at most 1. If no feature has any
    mass, all are weighted equally. Without features there are no groups.
    """
    if len(features) == 0:
        return []
    weights = masses.astype(np.float64)
    if not weights.any():
        weights = np.ones(len(masses))
    clusters = _largest(_unit(directions), weights / weights.sum(), threshold, most_groups)
    groups = [_group(features, weights, clusters.owners == cluster) for cluster in range(clusters.k)]
    return sorted(groups, key=lambda group: (-group.share, int(group.features[0])))


def spherical_k_means(
    points: Float32[np.ndarray, "point d_in"],
    weights: Float64[np.ndarray, " point"],
    k: int,
    *,
    n_seeds: int = _N_SEEDS,
) -> Clusters:
    """Clusters unit vectors by cosine; keeps the best of several k-means++ runs by similarity.

    Returns fewer than `k` clusters if there are fewer points, or too few different ones.
    """
    runs = [_one_run(points, weights, k, np.random.default_rng([seed, k])) for seed in range(n_seeds)]
    return max(runs, key=lambda run: run.similarity)


def _largest(
    points: Float32[np.ndarray, "point d_in"],
    shares: Float64[np.ndarray, " point"],
    threshold: float,
    most_groups: int,
) -> Clusters:
    """The clustering with the largest k whose clusters all hold the threshold: k is at most its inverse."""
    for k in range(min(most_groups, len(points), int(1 / threshold + 1e-9)), 1, -1):
        clusters = _clusters(points, shares, k)
        held = np.bincount(clusters.owners, shares, clusters.k)
        # Fewer than k: this is a clustering of another k, which has its turn.
        if clusters.k == k and held.min() >= threshold - 1e-9:
            return clusters
    return _clusters(points, shares, 1)


def _clusters(
    points: Float32[np.ndarray, "point d_in"], shares: Float64[np.ndarray, " point"], k: int
) -> Clusters:
    heaviest = np.argsort(-shares, kind="stable")[:_MAX_CLUSTERED]
    if len(heaviest) == len(points):
        return spherical_k_means(points, shares, k)
    found = spherical_k_means(points[heaviest], shares[heaviest], k)
    nowhere = np.zeros((found.k, points.shape[1]), dtype=np.float32)
    centres = _centres(points[heaviest], shares[heaviest], found.owners, nowhere)
    owners = (points @ centres.T).argmax(axis=1)
    owners[heaviest] = found.owners
    return Clusters(owners, found.k, found.similarity)


def _one_run(
    points: Float32[np.ndarray, "point d_in"],
    weights: Float64[np.ndarray, " point"],
    k: int,
    random: np.random.Generator,
) -> Clusters:
    centres = points[_beginnings(points, weights, k, random)]
    owners = np.full(len(points), -1)
    for _ in range(_MAX_ROUNDS):
        cosines = points @ centres.T
        before, owners = owners, cosines.argmax(axis=1)
        if np.array_equal(before, owners):
            break
        centres = _centres(points, weights, owners, centres)
    present, owners = np.unique(owners, return_inverse=True)
    nearest = np.take_along_axis(cosines, present[owners][:, None], axis=1)[:, 0]
    return Clusters(owners, len(present), float(weights @ nearest / weights.sum()))


def _beginnings(
    points: Float32[np.ndarray, "point d_in"],
    weights: Float64[np.ndarray, " point"],
    k: int,
    random: np.random.Generator,
) -> list[int]:
    """The initial centres by k-means++: heavy points, and points far from chosen ones, are likelier."""
    chosen: list[int] = [int(random.choice(len(points), p=weights / weights.sum()))]
    distance = 1 - points @ points[chosen[0]]
    while len(chosen) < k:
        chance = weights * np.maximum(distance, 0)
        if chance.sum() <= 1e-9 * weights.sum():  # all points are where a centre is already
            break
        chosen.append(int(random.choice(len(points), p=chance / chance.sum())))
        distance = np.minimum(distance, 1 - points @ points[chosen[-1]])
    return chosen


def _centres(
    points: Float32[np.ndarray, "point d_in"],
    weights: Float64[np.ndarray, " point"],
    owners: Int64[np.ndarray, " point"],
    before: Float32[np.ndarray, "k d_in"],
) -> Float32[np.ndarray, "k d_in"]:
    """The weighted mean of each cluster, at unit length; an empty cluster keeps its centre."""
    membership = np.zeros((len(before), len(points)), dtype=np.float32)
    membership[owners, np.arange(len(points))] = weights
    present = membership.any(axis=1)
    centres = before.copy()
    centres[present] = _unit(membership[present] @ points)
    return centres


def _unit(rows: Shaped[np.ndarray, "row d_in"]) -> Float32[np.ndarray, "row d_in"]:
    lengths = np.linalg.norm(rows.astype(np.float32), axis=1, keepdims=True)
    found: Float32[np.ndarray, "row d_in"] = rows / np.where(lengths > 0, lengths, 1).astype(np.float32)
    return found.astype(np.float32)


def _group(
    features: Sequence[int] | Shaped[np.ndarray, " feature"],
    weights: Float64[np.ndarray, " feature"],
    member: Shaped[np.ndarray, " feature"],
) -> Group:
    numbers, masses = np.asarray(features, dtype=np.int64)[member], weights[member]
    order = np.lexsort((numbers, -masses))
    return Group(numbers[order], masses[order], float(masses.sum() / weights.sum()))
