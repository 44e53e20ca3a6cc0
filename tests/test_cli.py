"""The command line from outside: what each command prints, its exit codes, and what `verify` finds."""

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from scopeview import __version__
from scopeview.store.manifest import read_manifest
from scopeview.store.pack import Pack, write_pack
from scopeview.store.reader import IndexReader
from tests.command import scopeview
from tests.indexer.tiny import (
    N_FEATURES,
    N_SHARDS,
    PER_SHARD,
    WIDTH,
    K,
    index_words,
    write_suite,
    write_world,
)
from tests.older import change_json, with_new_checksums, without_checksums
from tests.saes import save_random_native

N_IMAGES = N_SHARDS * PER_SHARD


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_world(tmp_path_factory.mktemp("world"))


@pytest.fixture(scope="module")
def index(world: Path) -> Path:
    ended = scopeview(*index_words(world, world / "index"))
    assert ended.code == 0, ended.err
    return world / "index"


@pytest.fixture
def copy(index: Path, tmp_path: Path) -> Path:
    return shutil.copytree(index, tmp_path / "copy")


def manifest_of(index_dir: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((index_dir / "manifest.json").read_text())
    return found


# -- index -------------------------------------------------------------------------------------------------


def test_progress_goes_to_standard_error_as_json_and_the_result_to_standard_output(
    world: Path, tmp_path: Path
) -> None:
    ended = scopeview(*index_words(world, tmp_path / "index"), "--limit", "8", "--layers", "embed")
    assert ended.code == 0
    lines = [json.loads(line) for line in ended.err.splitlines()]
    stages = list(dict.fromkeys(line["task"] for line in lines))
    assert stages == ["calibrate", "encode", "build", "describe", "grids", "checksums"]
    grids = [line for line in lines if line["task"] == "grids"]
    assert (grids[-1]["done"], grids[-1]["total"]) == (N_FEATURES, N_FEATURES)
    assert "8 images of source (webdataset)" in ended.out


def test_limit_takes_the_first_samples(world: Path, index: Path, tmp_path: Path) -> None:
    assert scopeview(*index_words(world, tmp_path / "index"), "--limit", "8").code == 0
    with IndexReader(tmp_path / "index") as limited, IndexReader(index) as whole:
        assert limited.manifest.n_images == 8
        assert limited.images() == whole.images(limit=8)
        assert [limited.image(i).codes for i in range(8)] == [whole.image(i).codes for i in range(8)]
    assert scopeview("verify", tmp_path / "index").code == 0


@pytest.mark.parametrize("how", ["none", "standardize"])
def test_a_forced_normalization_holds_for_every_layer_whatever_its_file_says(
    world: Path, index: Path, tmp_path: Path, how: str
) -> None:
    assert {layer["normalization"] for layer in manifest_of(index)["layers"]} == {"none", "standardize"}
    assert scopeview(*index_words(world, tmp_path / "index"), "--normalization", how).code == 0
    own = {str(layer["layer"]): layer for layer in manifest_of(index)["layers"]}
    for layer in manifest_of(tmp_path / "index")["layers"]:
        assert layer["normalization"] == how
        kept = own[str(layer["layer"])]
        assert (layer["figures"] == kept["figures"]) == (kept["normalization"] == how)


def test_a_relu_sae_goes_all_the_way(world: Path, tmp_path: Path) -> None:
    save_random_native(tmp_path / "suite", layer=2, d_in=WIDTH, n_features=N_FEATURES, k=None)
    words = [*index_words(world, tmp_path / "index"), "--sae", tmp_path / "suite"]
    ended = scopeview(*words)
    assert ended.code == 0, ended.err
    assert scopeview("verify", tmp_path / "index").code == 0
    with IndexReader(tmp_path / "index") as reader:
        (record,) = reader.manifest.layers
        assert (record.architecture, record.k) == ("relu", None)
        codes = [reader.image(i).codes[0] for i in range(N_IMAGES)]
    assert all(code.n_active == len(code.features) > 0 for code in codes)
    assert all(active.activation > 0 for code in codes for active in code.features)
    assert len({len(code.features) for code in codes}) > 1


def test_bfloat16_runs_on_a_cpu_and_gives_nearly_the_same_codes(
    world: Path, index: Path, tmp_path: Path
) -> None:
    assert scopeview(*index_words(world, tmp_path / "index"), "--dtype", "bfloat16").code == 0
    with IndexReader(tmp_path / "index") as rough, IndexReader(index) as exact:
        assert (rough.manifest.dtype, exact.manifest.dtype) == ("bfloat16", "float32")
        n_same = sum(len(_features(rough, image) & _features(exact, image)) for image in range(N_IMAGES))
    assert n_same > 0.8 * N_IMAGES * K


def _features(reader: IndexReader, image_id: int) -> set[int]:
    return {active.feature for active in reader.image(image_id).codes[0].features}


def test_every_file_of_an_index_can_be_read_by_others(index: Path) -> None:
    modes = {path.name: oct(path.stat().st_mode & 0o444) for path in index.rglob("*") if path.is_file()}
    assert set(modes.values()) == {"0o444"}


# -- calibrate, info, version, demo-images -----------------------------------------------------------------


def test_calibrate_compares_both_normalizations_of_every_layer(world: Path) -> None:
    words = ["calibrate", world / "source", "--model", world / "model", "--sae", world / "suite"]
    ended = scopeview(*words, "--images", "6", "--json")
    assert ended.code == 0, ended.err
    found = json.loads(ended.out)
    assert [(line["layer"], line["figures"]["normalization"]) for line in found] == [
        (1, "standardize"),
        (1, "none"),
        ("embed", "standardize"),
        ("embed", "none"),
    ]
    table = scopeview(*words, "--images", "6").out
    for line in found:
        assert f"{line['figures']['explained_variance']:.3f}" in table
        assert f"{line['figures']['mse']:.2f}" in table
    assert "1_resid/1200013184.pt" in table
    assert "standardize" in table


def test_calibrate_says_what_the_index_says(world: Path, index: Path) -> None:
    words = ["calibrate", world / "source", "--model", world / "model", "--sae", world / "suite"]
    ended = scopeview(*words, "--images", "8", "--batch-size", "4", "--json")
    found = {(one["layer"], one["figures"]["normalization"]): one["figures"] for one in json.loads(ended.out)}
    for layer in manifest_of(index)["layers"]:
        figures = found[layer["layer"], layer["normalization"]]
        assert layer["figures"] == {name: figures[name] for name in layer["figures"]}


def test_info_prints_a_table_or_the_manifest_itself(index: Path) -> None:
    printed = scopeview("info", index).out
    for part in ("tiny", f"{N_IMAGES} images of source", "model model@local", "1_resid/1200013184.pt"):
        assert part in printed
    assert "…" not in printed
    assert json.loads(scopeview("info", index, "--json").out) == manifest_of(index)


def test_names_with_brackets_are_printed_as_they_are(copy: Path) -> None:
    odd = copy.rename(copy.with_name("[red]x[nothing]"))
    change_json(odd / "manifest.json", dataset="[bold]photos[/]")
    printed = scopeview("info", odd).out
    assert "[bold]photos[/]" in printed
    assert "[red]x[nothing]" in printed


def test_version_and_demo_images(tmp_path: Path) -> None:
    assert scopeview("--version").out == f"{__version__}\n"
    assert scopeview("demo-images", tmp_path / "scenes", "3").code == 0
    assert [path.name for path in (tmp_path / "scenes").iterdir()] == ["00000.tar"]
    assert scopeview("demo-images", tmp_path / "scenes", "0").code == 2


# -- verify ------------------------------------------------------------------------------------------------


def test_verify_has_nothing_to_say_of_a_whole_index(index: Path) -> None:
    ended = scopeview("verify", index)
    assert (ended.code, ended.out) == (0, f"{index}: whole, and its parts agree\n")


def _delete_grids(index_dir: Path) -> None:
    (index_dir / "grids" / "1-any.pack").unlink()


def _delete_thumbs(index_dir: Path) -> None:
    (index_dir / "shards" / "00001" / "thumbs.pack").unlink()


def _swap_thumbs(index_dir: Path) -> None:
    """Another shard's images: as many, whole, and wrong."""
    for name in ("thumbs.pack", "thumbs.offsets.npy"):
        shutil.copy(index_dir / "shards" / "00000" / name, index_dir / "shards" / "00001" / name)


def _cut_thumbs(index_dir: Path) -> None:
    path = index_dir / "shards" / "00002" / "thumbs.pack"
    path.write_bytes(path.read_bytes()[:-1])


def _spoil_thumb(index_dir: Path) -> None:
    path = index_dir / "shards" / "00000" / "thumbs.pack"
    pack = Pack(path)
    blobs = [pack.read(i) for i in range(len(pack))]
    pack.close()
    write_pack(path, [b"no image", *blobs[1:]])


def _count_wrong(index_dir: Path) -> None:
    change_json(index_dir / "manifest.json", n_images=N_IMAGES + 1)


def _lose_shard(index_dir: Path) -> None:
    shutil.rmtree(index_dir / "shards" / "00001")


def _cut_embeddings(index_dir: Path) -> None:
    path = index_dir / "shards" / "00001" / "embeddings.npy"
    np.save(path, np.load(path)[:-1])


def _spoil_database(index_dir: Path) -> None:
    path = index_dir / read_manifest(index_dir).database
    content = bytearray(path.read_bytes())
    content[len(content) // 4 : 3 * len(content) // 4] = bytes(len(content) // 2)
    path.write_bytes(content)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("spoil", "parts"),
    [
        (_delete_grids, ("1-any: ", "1-any.pack", "not a readable pack")),
        (_delete_thumbs, ("shard 1: thumbs.pack", "not a readable pack")),
        (_swap_thumbs, ("its grid does not show the thumbnails of its top images",)),
        (_cut_thumbs, ("shard 2: thumbs.pack", "size does not fit")),
        (_spoil_thumb, ("image 0: ",)),
        (_count_wrong, (f"the manifest says {N_IMAGES + 1} images, the database holds {N_IMAGES}",)),
        (_lose_shard, ("shard 1", "no marker")),
        (_cut_embeddings, (f"embeddings.npy holds {PER_SHARD - 1} images, its marker says {PER_SHARD}",)),
        (_spoil_database, ()),
    ],
)
def test_verify_finds_damage_of_an_index_without_checksums_and_says_where(
    copy: Path, spoil: Callable[[Path], None], parts: tuple[str, ...]
) -> None:
    spoil(without_checksums(copy))
    ended = scopeview("verify", copy)
    assert ended.code in (1, 2), ended.out
    for part in parts:
        assert part in ended.out
    if ended.code == 1:
        assert f"{len(ended.out.splitlines())} problems found" in ended.err


def test_verify_finds_a_database_of_another_run(world: Path, copy: Path, tmp_path: Path) -> None:
    """The same images and widths, other weights."""
    suite = write_suite(tmp_path / "suite")
    save_random_native(suite, layer="embed", d_in=16, n_features=N_FEATURES, k=K, seed=77)
    other = tmp_path / "other"
    assert scopeview(*index_words(world, other), "--sae", suite).code == 0
    shutil.copy(other / read_manifest(other).database, copy / read_manifest(copy).database)
    ended = scopeview("verify", with_new_checksums(copy))
    assert ended.code == 1
    assert "its code at embed-cls is not the one in its shard" in ended.out
    assert "its code at 1-cls" not in ended.out


# -- processes ---------------------------------------------------------------------------------------------


def test_processes_end_without_a_word_beyond_their_own(world: Path, tmp_path: Path) -> None:
    """Nothing is left open for a library to complain of when the interpreter ends."""
    command = [sys.executable, "-m", "scopeview"]
    words = [*map(str, index_words(world, tmp_path / "index")), "--layers", "embed"]
    done = subprocess.run([*command, *words], capture_output=True, text=True, check=True)
    assert all("task" in json.loads(line) for line in done.stderr.splitlines())
    read = [*command, "info", str(tmp_path / "index")]
    assert subprocess.run(read, capture_output=True, text=True, check=True).stderr == ""
