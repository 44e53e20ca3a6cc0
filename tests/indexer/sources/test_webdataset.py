import json
import pickle
import tarfile
from pathlib import Path

import pytest

from indexer.sources import SourceOptions
from indexer.sources import sample as sample_module
from indexer.sources.sample import Parts
from indexer.sources.webdataset import TarShard
from scopeview.errors import BadReason
from tests.indexer.sources.tars import bad, good, link, png, reasons, write_table, write_tar


def shard_of(tmp_path: Path, *members: tuple[str | tarfile.TarInfo, bytes]) -> TarShard:
    return TarShard(write_tar(tmp_path / "s.tar", members))


def test_files_side_by_side_with_one_name_are_one_sample(tmp_path: Path) -> None:
    about = {"TEXT": "from json", "URL": "https://a.org/x.jpg", "punsafe": 0.25, "pwatermark": float("nan")}
    shard = shard_of(
        tmp_path, ("dir/a.jpg", png()), ("dir/a.txt", b"from txt"), ("dir/a.json", json.dumps(about).encode())
    )
    (sample,) = good(shard)
    assert (sample.key, sample.image, sample.caption) == ("s/dir/a", png(), "from txt")
    assert (sample.source_url, sample.punsafe, sample.pwatermark) == ("https://a.org/x.jpg", 0.25, None)
    assert bad(shard) == []


def test_a_key_ends_at_the_first_dot_of_the_file_name(tmp_path: Path) -> None:
    shard = shard_of(tmp_path, ("v1.0/a.jpg", png()), ("./b.PNG", png()), ("c.cls", b"7"), ("c.webp", png()))
    assert [(sample.key, sample.label) for sample in good(shard)] == [
        ("s/v1.0/a", None),
        ("s/b", None),
        ("s/c", "7"),
    ]


def test_the_plain_image_is_taken_and_a_second_one_is_counted(tmp_path: Path) -> None:
    shard = shard_of(tmp_path, ("a.mask.png", png(1)), ("a.jpg", png(2)), ("a.png", png(3)))
    (sample,) = good(shard)
    assert sample.image == png(2)
    assert sample.parts == Parts((("image", "jpg"),), ("mask.png", "png"))
    assert reasons(shard) == []


@pytest.mark.parametrize(
    ("names", "image"),
    [
        (["png", "jpg"], "jpg"),
        (["seg.png", "input.jpg"], "input.jpg"),
        (["b.png", "a.webp"], "a.webp"),
        (["image.png", "thumb.jpg", "webp"], "webp"),
    ],
)
def test_one_rule_chooses_among_several_images(tmp_path: Path, names: list[str], image: str) -> None:
    shard = shard_of(tmp_path, *((f"a.{name}", png(shade)) for shade, name in enumerate(names)))
    (sample,) = good(shard)
    assert (sample.image, dict(sample.parts.taken)["image"]) == (png(names.index(image)), image)


@pytest.mark.parametrize("key", ["mask", "mask.png", "MASK.PNG"])
def test_the_image_can_be_named(tmp_path: Path, key: str) -> None:
    path = write_tar(tmp_path / "s.tar", [("a.jpg", png(1)), ("a.mask.png", png(2)), ("b.jpg", png(3))])
    shard = TarShard(path, options=SourceOptions(image_key=key))
    assert [sample.image for sample in good(shard)] == [png(2)]
    assert "no image called" in bad(shard)[0].detail


def test_captions_and_labels_in_files_of_other_names(tmp_path: Path) -> None:
    members = [
        ("a.input.jpg", png()),
        ("a.outputs.txt", b"an output"),
        ("a.json", b'{"caption": ["first", "second"], "label": 3.0}'),
        ("a.breed.txt", b"siamese"),
    ]
    path = write_tar(tmp_path / "s.tar", members)
    (sample,) = good(TarShard(path))
    assert (sample.caption, sample.label) == ("an output", "3")
    assert sample.parts.unused == ("breed.txt", "json caption")
    options = SourceOptions(caption_key="caption", label_key="breed.txt")
    (named,) = good(TarShard(path, options=options))
    assert (named.caption, named.label) == ("first", "siamese")


def test_the_first_of_two_samples_with_one_key_is_kept(tmp_path: Path) -> None:
    shard = shard_of(tmp_path, ("a.jpg", png(1)), ("b.jpg", png(2)), ("a.jpg", png(3)))
    assert [sample.image for sample in good(shard)] == [png(1), png(2)]
    assert [(found.key, found.reason) for found in bad(shard)] == [("s/a", BadReason.DUPLICATE_KEY)]


def test_a_repeated_name_is_a_duplicate_even_side_by_side(tmp_path: Path) -> None:
    shard = shard_of(tmp_path, ("a.jpg", png(1)), ("a.jpg", png(2)))
    assert [sample.image for sample in good(shard)] == [png(1)]
    assert reasons(shard) == ["DUPLICATE_KEY"]


@pytest.mark.parametrize(
    "name",
    [
        "../../x.jpg",
        "/etc/x.jpg",
        "a/../x.jpg",
        "a\\x.jpg",
        "a\nb.jpg",
        "a//b.jpg",
        "\udcff.jpg",
        "../../passwd",
    ],
)
def test_an_unsafe_key_is_refused_and_printed_safely(tmp_path: Path, name: str) -> None:
    shard = shard_of(tmp_path, (name, png()), ("ok.jpg", png()))
    assert [sample.key for sample in good(shard)] == ["s/ok"]
    (refused,) = bad(shard)
    assert refused.reason is BadReason.UNSAFE_KEY
    assert refused.key.isprintable()
    assert refused.detail.isprintable()


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE, tarfile.CHRTYPE])
def test_links_and_devices_are_never_followed(tmp_path: Path, kind: bytes) -> None:
    shard = shard_of(
        tmp_path, ("b.jpg", png()), (link("a.jpg", "/etc/passwd", kind), b""), ("a.txt", b"caption")
    )
    assert [sample.key for sample in good(shard)] == ["s/b"]
    assert reasons(shard) == ["NO_IMAGE"]


def test_a_link_as_a_caption_is_no_caption(tmp_path: Path) -> None:
    shard = shard_of(tmp_path, ("a.jpg", png()), (link("a.txt", "/etc/passwd"), b""))
    assert [sample.caption for sample in good(shard)] == [None]


def test_folders_hidden_files_and_files_without_extension_are_no_samples(tmp_path: Path) -> None:
    folder = tarfile.TarInfo("dir")
    folder.type = tarfile.DIRTYPE
    shard = shard_of(tmp_path, (folder, b""), ("._a.jpg", b"x"), ("README", b"x"), ("dir/a.jpg", png()))
    assert [sample.key for sample in good(shard)] == ["s/dir/a"]
    assert bad(shard) == []


def test_a_sample_without_image_or_without_bytes_is_counted(tmp_path: Path) -> None:
    shard = shard_of(tmp_path, ("a.txt", b"x"), ("b.jpg", b""), ("c.tiff", b"x"))
    assert reasons(shard) == ["NO_IMAGE", "EMPTY", "NO_IMAGE"]


def test_an_image_over_the_limit_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("indexer.sources.webdataset.MAX_IMAGE_BYTES", 100)
    shard = shard_of(tmp_path, ("a.jpg", b"x" * 101), ("b.jpg", b"x" * 100))
    assert [sample.key for sample in good(shard)] == ["s/b"]
    assert reasons(shard) == ["TOO_LARGE"]


@pytest.mark.parametrize(
    "broken",
    [b"{", b"[1]", b"\xff\xfe\xfd", b"[" * 100_000, b'{"a": ' + b"9" * 10_000 + b"}", b" " * (1024**2 + 1)],
)
def test_broken_json_costs_the_metadata_and_not_the_image(tmp_path: Path, broken: bytes) -> None:
    assert sample_module.MAX_METADATA_BYTES == 1024**2
    shard = shard_of(tmp_path, ("a.jpg", png()), ("a.json", broken), ("a.txt", b"still read"))
    (sample,) = good(shard)
    assert (sample.caption, sample.note) == ("still read", BadReason.BAD_METADATA)
    assert bad(shard) == []


def test_img2datasets_own_count_is_checked(tmp_path: Path) -> None:
    shard = shard_of(tmp_path, ("a.jpg", png()), ("b.jpg", png()))
    stats = tmp_path / "s_stats.json"
    stats.write_text('{"successes": 2}')
    assert reasons(shard) == []
    stats.write_text('{"successes": 3}')
    assert "counts 3 samples, s.tar holds 2" in bad(shard)[0].detail
    stats.write_text('{"successes": 40}')
    assert [complaint.n_samples for complaint in bad(shard)] == [38]
    stats.write_text("{")
    assert reasons(shard) == ["BAD_METADATA"]


@pytest.fixture
def cut(tmp_path: Path) -> TarShard:
    """Of ten samples the tar breaks off in the second."""
    path = write_tar(tmp_path / "s.tar", [(f"{n}.jpg", b"x" * 600) for n in range(10)])
    path.write_bytes(path.read_bytes()[: 4 * tarfile.BLOCKSIZE])
    return TarShard(path)


def lost(shard: TarShard) -> list[int]:
    return [complaint.n_samples for complaint in bad(shard)]


def test_a_cut_counts_all_that_it_cost_where_that_is_known(cut: TarShard) -> None:
    n_found = len(good(cut))
    assert lost(cut) == [1]
    cut.path.with_name("s_stats.json").write_text('{"successes": 10}')
    assert lost(cut) == [10 - n_found]
    cut.path.write_bytes(b"no tar")
    assert lost(cut) == [10]
    cut.path.unlink()
    assert lost(cut) == [10]


def test_img2datasets_table_says_how_many_images_were_fetched(cut: TarShard) -> None:
    table = cut.path.with_name("s.parquet")
    write_table(table, status=["success"] * 10 + ["failed_to_download"] * 5)
    n_found = len(good(cut))
    assert lost(cut) == [10 - n_found]
    write_table(table, url=["x"] * 10)  # any list: it counts only where the tar is damaged
    assert lost(cut) == [10 - n_found]
    write_tar(cut.path, [("a.jpg", png())])
    assert lost(cut) == []
    write_table(table, status=["success"] * 3)
    assert lost(cut) == [2]
    table.write_bytes(b"PAR1")
    assert lost(cut) == []


def test_the_fingerprint_covers_what_counts_the_samples(cut: TarShard) -> None:
    before = cut.fingerprint()
    write_table(cut.path.with_name("s.parquet"), url=["x"])
    with_table = cut.fingerprint()
    cut.path.with_name("s_stats.json").write_text('{"successes": 10}')
    assert len({before, with_table, cut.fingerprint()}) == 3


def test_a_tar_without_stats_among_tars_with_them_is_read_and_reported(tmp_path: Path) -> None:
    path = write_tar(tmp_path / "s.tar", [("a.jpg", png())])
    shard = TarShard(path, stats_expected=True)
    assert [sample.key for sample in good(shard)] == ["s/a"]
    assert reasons(shard) == ["TRUNCATED_SHARD"]


def test_the_fingerprint_is_of_the_content_and_not_of_the_place_or_time(tmp_path: Path) -> None:
    first = shard_of(tmp_path, ("a.jpg", png(1)))
    (tmp_path / "copy").mkdir()
    copy = TarShard(tmp_path / "copy" / "s.tar")
    copy.path.write_bytes(first.path.read_bytes())
    assert copy.fingerprint() == first.fingerprint()
    write_tar(copy.path, [("a.jpg", png(2))])
    assert copy.fingerprint() != first.fingerprint()


def test_a_shard_travels_between_processes(tmp_path: Path) -> None:
    shard = shard_of(tmp_path, ("a.jpg", png()))
    assert list(pickle.loads(pickle.dumps(shard)).samples()) == list(shard.samples())
