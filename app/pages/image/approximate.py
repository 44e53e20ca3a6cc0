"""What pages say of values that an index does not store: they are computed again from a thumbnail. Pure.

An index keeps an image's codes at a few tokens, and its thumbnail, which is lossy. Uploads are kept without
loss, so nothing of them is approximate.
"""

from collections.abc import Sequence

from scopeview.analysis.decomposition import LayerDecomposition

_WHY = "computed again from the thumbnail, which is lossy"


def of_features(found: LayerDecomposition, positions: Sequence[int] | None) -> str | None:
    """Beside the features that fire at some tokens; None where no value is approximate."""
    if found.stored is None:
        return None
    rest = "the reconstruction figures" if found.n_tokens == 1 else "heat and the reconstruction figures"
    if found.is_exact_at(positions):
        return f"Activations and shares are the index's own. Approximate: {rest}, {_WHY}."
    if positions is None and found.stored.n_active is not None:
        return f"Activations and their places are the index's own. Approximate: shares, {rest}, {_WHY}."
    return f"All values here are approximate: the index does not store these tokens, so they are {_WHY}."


def of_groups(found: LayerDecomposition, positions: Sequence[int] | None) -> str | None:
    """Beside groups, which are made of activation mass."""
    if found.stored is None:
        return None
    if found.is_exact_at(positions):
        return f"Shares are the index's own. Approximate: heat, {_WHY}." if found.n_tokens > 1 else None
    return f"Groups, shares and heat are approximate: {_WHY}."


def of_layers(found: Sequence[LayerDecomposition], positions: Sequence[int] | None) -> str | None:
    """Beside groups of several layers."""
    if all(each.stored is None for each in found):
        return None
    if all(each.is_exact_at(positions) for each in found):
        return f"Shares are the index's own. Approximate: how much is explained, {_WHY}."
    return f"Groups, shares and how much is explained are approximate: {_WHY}."


def of_edits(found: LayerDecomposition) -> str | None:
    """Beside what an edit does."""
    return None if found.stored is None else "Approximate: the model runs on the thumbnail, which is lossy."
