"""The manifest: read back as it was written, and anything this program does not know is refused by name."""

import json
from pathlib import Path
from typing import Any

import pytest

from scopeview.errors import IndexFormatError
from scopeview.slots import Slot
from scopeview.store.files import MANIFEST
from scopeview.store.manifest import (
    LayerRecord,
    Manifest,
    ModelRecord,
    SaeFigures,
    read_manifest,
    write_manifest,
)


def layer(number: int | str, **changes: Any) -> LayerRecord:
    fields: dict[str, Any] = {
        "layer": number,
        "sae": "org/suite",
        "sae_revision": "c0ffee",
        "sae_file": f"{number}_resid/1.pt",
        "sae_sha256": "b" * 64,
        "architecture": "topk",
        "d_in": 64,
        "n_features": 256,
        "k": 8,
        "normalization": "standardize",
        "figures": SaeFigures(explained_variance=-0.25, mse=1131.5, l0=7.5, n_tokens=1000),
    }
    return LayerRecord(**{**fields, **changes})


MODEL = ModelRecord(
    ref="org/clip",
    revision=None,
    sha256="a" * 64,
    n_layers=24,
    width=1024,
    projection_dim=768,
    image_px=224,
    patch_px=14,
    random_weights=False,
    preprocessing={"mean": [0.5, 0.5, 0.5]},
)

MANIFEST_OF_ALL = Manifest(
    scopeview="0.1.0",
    slug="some",
    created="2026-11-21T05:30:00Z",
    dataset="photos",
    source_kind="folder",
    database="scope-1.duckdb",
    n_images=770,
    skipped={"corrupt image": 2},
    model=MODEL,
    layers=[layer(11), layer("embed", architecture="relu", k=None, figures=None)],
    tokens=["cls", "137", "any"],
    dtype="float32",
    device="cpu",
    top_n=20,
    n_bins=32,
    thumb_px=224,
)


def changed(folder: Path, **fields: Any) -> Path:
    """A folder with the manifest after a change by hand; None removes the field."""
    write_manifest(folder, MANIFEST_OF_ALL)
    content = {**json.loads((folder / MANIFEST).read_bytes()), **fields}
    kept = {name: value for name, value in content.items() if value is not None}
    (folder / MANIFEST).write_text(json.dumps(kept))
    return folder


def test_it_is_read_back_as_it_was_written(tmp_path: Path) -> None:
    write_manifest(tmp_path, MANIFEST_OF_ALL)
    assert read_manifest(tmp_path) == MANIFEST_OF_ALL


def test_a_layer_is_a_number_or_embed_in_the_file_and_in_memory(tmp_path: Path) -> None:
    write_manifest(tmp_path, MANIFEST_OF_ALL)
    assert [record["layer"] for record in json.loads((tmp_path / MANIFEST).read_bytes())["layers"]] == [
        11,
        "embed",
    ]
    assert [record.layer for record in read_manifest(tmp_path).layers] == [11, "embed"]


def test_the_embedding_has_cls_alone() -> None:
    assert MANIFEST_OF_ALL.slots == [
        Slot(11, "cls"),
        Slot(11, "137"),
        Slot(11, "any"),
        Slot("embed", "cls"),
    ]


def test_a_layer_is_found_by_its_number() -> None:
    assert MANIFEST_OF_ALL.layer("embed") == MANIFEST_OF_ALL.layers[1]
    assert MANIFEST_OF_ALL.layer(12) is None


def test_the_grid_of_patches_follows_from_the_pixels() -> None:
    assert MODEL.grid_size == 16


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"version": 4}, r"manifest\.json: version: .*reads scopeview-index versions 1 to 3"),
        ({"format": "saev-index"}, r"manifest\.json: format: "),
        ({"sparkles": True}, r"manifest\.json: sparkles: Extra inputs are not permitted"),
        ({"n_images": None}, r"manifest\.json: n_images: Field required"),
        ({"layers": [{**layer(3).model_dump(), "k": "many"}]}, r"manifest\.json: layers\.0\.k: "),
        ({"layers": [{**layer(3).model_dump(), "layer": "head"}]}, r"manifest\.json: layers\.0\.layer"),
    ],
)
def test_what_is_not_known_is_refused_by_name(tmp_path: Path, fields: dict[str, Any], named: str) -> None:
    with pytest.raises(IndexFormatError, match=named):
        read_manifest(changed(tmp_path, **fields))


@pytest.mark.parametrize("content", ["", "{", "[]", '{"n_images": NaN}', "\x00\xff"])
def test_a_file_that_is_no_manifest_is_refused(tmp_path: Path, content: str) -> None:
    (tmp_path / MANIFEST).write_bytes(content.encode("latin-1"))
    with pytest.raises(IndexFormatError, match=r"manifest\.json: "):
        read_manifest(tmp_path)


def test_a_folder_without_one_is_no_finished_index(tmp_path: Path) -> None:
    with pytest.raises(IndexFormatError, match=r"no finished index: it has no manifest\.json"):
        read_manifest(tmp_path)


def test_a_file_in_place_of_the_folder_is_no_index(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(IndexFormatError, match="no finished index"):
        read_manifest(tmp_path / "file")


def test_figures_that_are_not_finite_cannot_be_recorded() -> None:
    with pytest.raises(ValueError, match="finite"):
        SaeFigures(explained_variance=float("nan"), mse=1.0, l0=1.0, n_tokens=1)
