"""Notes on values that an index does not store: they are recomputed from a thumbnail. Pure.

An index keeps an image's codes at a few tokens, and its thumbnail, which is lossy. Uploads are kept without
loss, so none of their values are approximate.
"""

from collections.abc import Sequence

from scopeview.analysis.decomposition import LayerDecomposition

_WHY = "recomputed from the lossy thumbnail"


def of_features(found: LayerDecomposition, positions: Sequence[int] | None) -> str | None:
    """Returns the note beside the features that fire at some tokens; None if no value is approximate."""
    if found.stored is None:
        return None
    rest = (
        "the reconstruction metrics" if found.n_tokens == 1 else "the heatmap and the reconstruction metrics"
    )
    if found.is_exact_at(positions):
        return f"Activations and shares are stored in the index. Approximate: {rest} ({_WHY})."
    if positions is None and found.stored.n_active is not None:
        return f"Activations and positions are stored in the index. Approximate: shares, {rest} ({_WHY})."
    return f"All values here are approximate: the index does not store these tokens, so they are {_WHY}."


def of_groups(found: LayerDecomposition, positions: Sequence[int] | None) -> str | None:
    """Returns the note beside groups, which are made of activation mass."""
    if found.stored is None:
        return None
    if found.is_exact_at(positions):
        return (
            f"Shares are stored in the index. Approximate: heatmaps ({_WHY})." if found.n_tokens > 1 else None
        )
    return f"Groups, shares and heatmaps are approximate: {_WHY}."


def of_layers(found: Sequence[LayerDecomposition], positions: Sequence[int] | None) -> str | None:
    """Returns the note beside groups of several layers."""
    if all(each.stored is None for each in found):
        return None
    if all(each.is_exact_at(positions) for each in found):
        return f"Shares are stored in the index. Approximate: explained variance ({_WHY})."
    return f"Groups, shares and explained variance are approximate: {_WHY}."


def of_edits(found: LayerDecomposition) -> str | None:
    """Returns the note beside the effect of an edit."""
    return None if found.stored is None else "Approximate: the model runs on the lossy thumbnail."
