"""`eval search` from outside, on an index whose feature vectors are made up."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from jaxtyping import Float32
from transformers import CLIPModel

from indexer.evaluation.search import RowFinder, Rows, decoder_logit_lens
from scopeview.model_spec import load_encoder
from scopeview.slots import Slot
from scopeview.store.reader import IndexReader
from scopeview.store.records import Hit
from tests.command import scopeview
from tests.indexer.evaluation.conftest import SEED
from tests.indexer.tiny import N_FEATURES, PROJECTION


class MadeUp:
    """Random vectors; every feature has one."""

    def __init__(self, slot: Slot, n: int) -> None:
        rows = np.random.default_rng(0).normal(size=(n, PROJECTION)).astype(np.float32)
        self._slot, self._n, self._find = slot, n, RowFinder({slot: Rows(np.arange(n), rows)})

    def __len__(self) -> int:
        return self._n

    def nearest(self, vector: Float32[np.ndarray, " projection"], k: int) -> list[Hit]:
        return list(self._find(self._slot, vector, k))


class Vectors:
    def __init__(self, n: int) -> None:
        self._n = n

    def features(self, slot: Slot) -> MadeUp:
        return MadeUp(slot, self._n)

    def centred(
        self, vector: Float32[np.ndarray, " projection"], of: str
    ) -> Float32[np.ndarray, " projection"]:
        assert of == "text"
        return vector


def test_the_table_and_the_json_say_the_same(
    index: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(IndexReader, "search", Vectors(N_FEATURES))
    words = ("--seed", SEED, "--device", "cpu", "--json", tmp_path / "search.json")
    ended = scopeview("eval", "search", index, *words)
    assert ended.code == 0, ended.err
    found = json.loads((tmp_path / "search.json").read_text())
    assert [(line["layer"], line["token"], line["how"]) for line in found["scores"]] == [
        (*where, how)
        for where in ((1, "cls"), (1, "any"), ("embed", "cls"), ("all", "cls"), ("all", "any"))
        for how in ("vectors", "decoder", "chance")
    ]
    rows = [row.split()[:4] for row in ended.out.splitlines()[-len(found["scores"]) :]]
    assert rows == [
        [str(line["layer"]), line["token"], line["how"], str(line["n_concepts"])] for line in found["scores"]
    ]
    assert all(0 <= line["first"] <= line["among"] <= 1 for line in found["scores"] if line["n_concepts"])


def test_an_index_without_vectors_is_refused(index: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(IndexReader, "search", Vectors(0))
    ended = scopeview("eval", "search", index, "--seed", SEED)
    assert ended.code == 2
    assert "no feature vectors" in ended.err


def test_the_lens_is_transformers_own_head_on_a_decoder_row(index: Path) -> None:
    encoder = load_encoder(index, device="cpu")
    sae = encoder.saes[1]
    assert sae.standardization is not None
    clip = CLIPModel.from_pretrained(encoder.clip.folder)
    with torch.no_grad():
        row = sae.dec[7] * (sae.standardization.std + 1e-6)
        expected = clip.visual_projection(clip.vision_model.post_layernorm(row))
    found = torch.from_numpy(decoder_logit_lens(encoder.clip, sae)[7])
    assert torch.allclose(found, expected / expected.norm(), atol=1e-5)
    embed = encoder.saes["embed"]
    rows = torch.from_numpy(decoder_logit_lens(encoder.clip, embed))
    assert torch.allclose(rows, embed.dec / embed.dec.norm(dim=1, keepdim=True), atol=1e-6)
