import os
import pickle
from pathlib import Path

import pytest

from indexer.sources import Shard, open_source
from scopeview.errors import BadReason
from tests.indexer.sources.tars import bad, good, png, reasons


def only_shard(root: Path) -> Shard:
    (shard,) = open_source(root).shards
    return shard


def write(root: Path, **files: bytes) -> None:
    for name, content in files.items():
        path = root / name.replace("__", "/").replace("_", ".")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)


def test_images_come_in_the_order_of_their_paths_keyed_without_extension(tmp_path: Path) -> None:
    write(tmp_path, z_jpg=png(), a__b_JPEG=png(), a_b_webp=png(), a_gif=png(), a__a__a_png=png())
    assert [sample.key for sample in good(only_shard(tmp_path))] == ["a.b", "a", "a/a/a", "a/b", "z"]


def test_captions_and_metadata_lie_beside_the_image(tmp_path: Path) -> None:
    write(
        tmp_path,
        a_jpg=png(),
        a_txt=b"a caption\n",
        a_json=b'{"wnid": "n1", "caption": "another"}',
        b_jpg=png(),
    )
    first, second = good(only_shard(tmp_path))
    assert (first.caption, first.label, second.caption) == ("a caption", "n1", None)
    assert bad(only_shard(tmp_path)) == []


def test_the_second_image_of_one_name_is_a_duplicate(tmp_path: Path) -> None:
    write(tmp_path, a_jpg=png(1), a_k_png=png(2), a_png=png(3))
    shards = open_source(tmp_path, images_per_shard=1).shards
    assert [sample.key for shard in shards for sample in good(shard)] == ["a", "a.k"]
    assert [reasons(shard) for shard in shards] == [[], [], ["DUPLICATE_KEY"]]


def test_shards_are_slices_with_stable_names(tmp_path: Path) -> None:
    write(tmp_path, **{f"{number:02d}_png": png(number) for number in range(5)})
    shards = open_source(tmp_path, images_per_shard=2).shards
    assert [shard.name for shard in shards] == ["folder-00000", "folder-00001", "folder-00002"]
    assert [len(good(shard)) for shard in shards] == [2, 2, 1]
    assert list(pickle.loads(pickle.dumps(shards[1])).samples()) == list(shards[1].samples())


def test_empty_and_unknown_files_are_counted_and_known_others_are_not(tmp_path: Path) -> None:
    write(tmp_path, a_jpg=b"", b_jpg=png(), c_bmp=b"x", d_csv=b"x", README=b"x", LICENSE=b"x")
    (tmp_path / ".hidden.jpg").write_bytes(png())
    assert reasons(only_shard(tmp_path)) == ["EMPTY", "UNSUPPORTED"]


def test_links_that_leave_the_folder_are_reported_and_not_followed(tmp_path: Path) -> None:
    (tmp_path / "secret.txt").write_text("secret")
    (tmp_path / "outside.png").write_bytes(png())
    root = tmp_path / "in"
    write(root, ok_png=png(), folder__x_png=png())
    (root / "out.png").symlink_to(tmp_path / "outside.png")
    (root / "same.png").symlink_to("ok.png")
    (root / "ok.txt").symlink_to(tmp_path / "secret.txt")
    (root / "loop").symlink_to(root)
    (root / "circle.png").symlink_to("circle.png")
    shard = only_shard(root)
    assert [(sample.key, sample.caption) for sample in good(shard)] == [
        ("folder/x", None),
        ("ok", None),
        ("same", None),
    ]
    assert good(shard)[1].note is BadReason.BAD_METADATA
    assert {found.key: found.reason for found in bad(shard)} == {
        "circle": BadReason.UNREADABLE,
        "out": BadReason.UNSAFE_KEY,
    }


def test_a_pipe_named_like_an_image_does_not_hold_the_run_up(tmp_path: Path) -> None:
    write(tmp_path, a_png=png())
    os.mkfifo(tmp_path / "b.png")
    assert reasons(only_shard(tmp_path)) == ["UNSUPPORTED"]


def test_names_that_are_unsafe_to_show_are_refused(tmp_path: Path) -> None:
    write(tmp_path, a_png=png())
    for name in (b"new\nline.png", b"\xff.png", b"back\\slash.png"):
        (tmp_path / os.fsdecode(name)).write_bytes(png())
    assert reasons(only_shard(tmp_path)) == ["UNSAFE_KEY"] * 3
    assert all(found.key.isprintable() and found.detail.isprintable() for found in bad(only_shard(tmp_path)))


def test_a_file_that_vanished_since_the_listing_is_unreadable(tmp_path: Path) -> None:
    write(tmp_path, a_png=png(), b_png=png())
    shard = only_shard(tmp_path)
    before = shard.fingerprint()
    (tmp_path / "a.png").unlink()
    assert reasons(shard) == ["UNREADABLE"]
    assert shard.fingerprint() != before


def test_an_image_over_the_limit_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("indexer.sources.folder.MAX_IMAGE_BYTES", 5)
    write(tmp_path, a_png=png())
    assert reasons(only_shard(tmp_path)) == ["TOO_LARGE"]


def test_the_fingerprint_is_of_names_and_sizes(tmp_path: Path) -> None:
    write(tmp_path, one__a_png=b"123", two__a_png=b"456", three__b_png=b"123", four__a_png=b"12")
    digests = [only_shard(tmp_path / name).fingerprint() for name in ("one", "two", "three", "four")]
    assert digests[0] == digests[1]
    assert len(set(digests)) == 3
