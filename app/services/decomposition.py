"""Decomposes an image at some layers; values that the index stores replace computed ones."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import anyio
import numpy as np

from app.engine.encoders import EncoderProtocol
from app.engine.fair_share import FairLimiter
from app.engine.worker import EncodeRequest
from app.services.images import ImageRef
from app.services.model_requests import decompose
from app.state import AppState, OpenIndex
from scopeview.analysis.decomposition import LayerDecomposition, StoredPeaks, StoredValues
from scopeview.slots import ANY, Layer, Slot, token_number
from scopeview.store.records import Code


async def layer_of(
    site: AppState,
    index: OpenIndex,
    image: ImageRef,
    layer: Layer,
    decoding: FairLimiter,
    features: Sequence[int] = (),
) -> LayerDecomposition:
    """Returns the image at one layer; values that were stored replace computed ones.

    An indexed image is computed again from the index's lossy thumbnail, so its other values are approximate;
    `LayerDecomposition.stored` says which ones are not. The maximum over all tokens of each of `features` is
    looked up too.
    """
    found = await layers_of(site, index, image, [layer], decoding, features)
    return found[layer]


async def layers_of(
    site: AppState,
    index: OpenIndex,
    image: ImageRef,
    layers: Sequence[Layer],
    decoding: FairLimiter,
    features: Sequence[int] = (),
) -> dict[Layer, LayerDecomposition]:
    """Returns what `layer_of` returns, for several layers in one forward pass."""
    found = await computed_layers(site, index, image, layers, decoding)
    return await anyio.to_thread.run_sync(_with_stored, site, index, image, found, features)


async def computed_layers(
    site: AppState, index: OpenIndex, image: ImageRef, layers: Sequence[Layer], decoding: FairLimiter
) -> dict[Layer, LayerDecomposition]:
    """Returns what the model computes from the stored image, ignoring stored values: the base of an edit."""
    (decomposition,) = await decompose(site, index, [image], EncodeRequest(tuple(layers)), decoding)
    return {layer: decomposition.layers[layer] for layer in layers}  # more of them may be remembered


def _with_stored(
    site: AppState,
    index: OpenIndex,
    image: ImageRef,
    found: Mapping[Layer, LayerDecomposition],
    features: Sequence[int],
) -> dict[Layer, LayerDecomposition]:
    encoder = site.worker.encoder(index.reader.index_dir)
    result = {}
    for layer, each in found.items():
        codes = [code for code in image.codes if code.layer == layer]
        with_peaks = _with_peaks(index, encoder, image.image_id, layer, each, codes, features)
        result[layer] = _with_codes(encoder, layer, with_peaks, codes)
    return result


def _with_codes(
    encoder: EncoderProtocol, layer: Layer, found: LayerDecomposition, codes: Sequence[Code]
) -> LayerDecomposition:
    """Inserts the stored codes of single tokens, which were computed in another batch."""
    for code in codes:
        token = token_number(code.token)
        if token is not None:
            features = [pair.feature for pair in code.features]
            values = np.array([pair.activation for pair in code.features], np.float32)
            norms = encoder.norms(layer, features)
            found = found.with_code(token, np.array(features, np.int32), values, norms)
    return found


def _with_peaks(
    index: OpenIndex,
    encoder: EncoderProtocol,
    image_id: int | None,
    layer: Layer,
    found: LayerDecomposition,
    codes: Sequence[Code],
    features: Sequence[int],
) -> LayerDecomposition:
    """Inserts the stored maxima over all tokens. An upload, kept without loss, has the same ones already."""
    if image_id is None:
        return found
    tokens = frozenset(token for code in codes if (token := token_number(code.token)) is not None)
    listed = next((code for code in codes if code.token == ANY), None)
    if listed is None:
        return replace(found, stored=StoredValues(tokens, frozenset(), None))
    code = index.reader.whole_code(image_id, Slot(layer, ANY)) or listed
    peaks = _peaks(index, image_id, code, features)
    numbers = list(peaks)
    columns = StoredPeaks(
        features=np.array(numbers, np.int32),
        values=np.array([value for value, _ in peaks.values()], np.float32),
        positions=np.array([position for _, position in peaks.values()], np.int64),
        norms=encoder.norms(layer, numbers),
        bound=_bound(code),
    )
    stored = StoredValues(tokens, frozenset(numbers), code.n_active)
    return replace(found.with_peaks(columns), stored=stored)


def _peaks(
    index: OpenIndex, image_id: int, code: Code, features: Sequence[int]
) -> dict[int, tuple[float, int]]:
    """Returns by feature its maximum over all tokens and where: the strongest features and `features`."""
    peaks = {
        pair.feature: (pair.activation, pair.position or 0) for pair in code.features if pair.activation > 0
    }
    others = [feature for feature in features if feature not in peaks]
    if others and len(peaks) < code.n_active:  # else they fire nowhere
        known = index.reader.activations_on(Slot(code.layer, ANY), others, [image_id])
        for feature in others:
            found = known.get((feature, image_id))
            peaks[feature] = (found.activation, found.position or 0) if found else (0.0, 0)
    return peaks


def _bound(code: Code) -> float:
    """Returns the bound of features that a code at `any` does not list: its lowest; 0 if it lists all."""
    firing = [pair.activation for pair in code.features if pair.activation > 0]
    return 0.0 if code.n_active <= len(firing) else min(firing, default=0.0)
