"""The block-list: what it names is gone with the next request, and nothing else is."""

import io
import os
from pathlib import Path

import pytest
from PIL import Image

from app.moderation.blocklist import BlockList, parse_rules
from app.moderation.reader import COVER, ModeratedReader
from scopeview.errors import InputError
from scopeview.slots import Slot
from tests.app.conftest import StartSite
from tests.app.index import N_IMAGES, SmallIndex

SLOT = Slot(1, "cls")
SHA = "a" * 64


def write(path: Path, *lines: str) -> None:
    """Its time moves on even where two writes fall into one tick of the clock."""
    before = path.stat().st_mtime_ns if path.exists() else 0
    path.write_text("\n".join(lines) + "\n")
    os.utime(path, ns=(before + 10**9, before + 10**9))


@pytest.fixture
def blocklist(tmp_path: Path) -> Path:
    path = tmp_path / "blocked.txt"
    write(path, "# nothing yet")
    return path


def test_a_line_is_a_sha256_a_url_or_a_domain() -> None:
    rules = parse_rules(f"# a note\n{SHA.upper()}\n\nhttps://Example.org/A.jpg#top # why\n  evil.example  \n")
    assert rules.sha256s == {SHA}
    assert rules.urls == {"http://example.org/a.jpg", "https://example.org/a.jpg"}
    assert rules.domains == {"evil.example"}
    assert rules.unread == ()


@pytest.mark.parametrize("line", ["a" * 63, "ftp://a.example/x", "two words", "https://", "http://[", "word"])
def test_what_is_none_of_them_is_named_and_the_rest_holds(line: str) -> None:
    rules = parse_rules(f"evil.example\n{line}")
    assert rules.unread == (f"line 2: {line}",)
    assert rules.domains == {"evil.example"}


@pytest.mark.parametrize("named", [f"{SHA}  my photo.jpg", f"{SHA} *photo.jpg", f"{SHA.upper()}  # why"])
def test_a_line_of_sha256sum_is_its_digest(named: str) -> None:
    assert parse_rules(named).sha256s == {SHA}


def test_a_domain_blocks_what_is_below_it_and_not_what_merely_ends_like_it() -> None:
    rules = parse_rules("evil.example")
    assert rules.blocks_host("evil.example")
    assert rules.blocks_host("cdn.evil.example")
    assert not rules.blocks_host("notevil.example")
    assert not rules.blocks_host("example")


@pytest.mark.parametrize("content", [None, b"\xff\xfe", b"what?\n"])
def test_a_list_that_cannot_be_read_is_refused_at_the_start(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "blocked.txt"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(InputError, match=r"blocked\.txt cannot be read"):
        BlockList(path)


def test_the_file_is_read_again_when_it_changes(blocklist: Path) -> None:
    watched = BlockList(blocklist)
    first = watched.rules()
    assert watched.rules() is first
    write(blocklist, "evil.example")
    assert watched.rules().domains == {"evil.example"}


def test_a_line_that_is_no_rule_unblocks_nothing_and_the_others_count(blocklist: Path) -> None:
    write(blocklist, SHA, "evil.example")
    watched = BlockList(blocklist)
    write(blocklist, SHA[:-1], "evil.example", "worse.example")
    assert watched.rules().sha256s == {SHA}
    assert watched.rules().domains == {"evil.example", "worse.example"}
    assert watched.rules().unread == (f"line 1: {SHA[:-1]}",)
    write(blocklist, "worse.example")
    assert watched.rules() == parse_rules("worse.example")


@pytest.mark.parametrize("damage", ["gone", "bytes"])
def test_what_was_blocked_stays_blocked_when_the_file_breaks(blocklist: Path, damage: str) -> None:
    write(blocklist, SHA)
    watched = BlockList(blocklist)
    if damage == "gone":
        blocklist.unlink()
    else:
        blocklist.write_bytes(b"\xff\xfe")
    assert watched.rules().sha256s == {SHA}


def test_images_are_found_by_file_by_url_and_by_domain(small_index: SmallIndex, blocklist: Path) -> None:
    with ModeratedReader(small_index.index_dir, BlockList(blocklist)) as reader:
        assert reader.blocked() == set()
        write(blocklist, f"{9:064x}", f"{N_IMAGES:064x}")
        assert reader.blocked() == {9}
        write(blocklist, "http://EXAMPLE.org/20.jpg", "21.jpg.example")
        assert reader.blocked() == {20}
        write(blocklist, "example.org")
        assert reader.blocked() == set(range(6, N_IMAGES)) | {2, 3}


def test_a_blocked_image_is_gone_from_every_page_at_once(start_site: StartSite, blocklist: Path) -> None:
    site = start_site(blocklist=blocklist)
    top = site.get("/api/v1/tiny/1/0").json()["top_images"][0]
    image_id, caption = top["image_id"], top["caption"]
    assert caption in site.get("/tiny/1/0").text
    before = site.get("/tiny/grids/1/cls/0.webp")
    write(blocklist, f"{image_id:064x}")
    for address in (
        f"/tiny/images/{image_id}",
        f"/tiny/thumbs/{image_id}.webp",
        f"/tiny/images/{image_id}/report",
        f"/tiny/search?image={image_id}",
    ):
        assert site.get(address).status_code == site.head(address).status_code == 410
    assert site.get(f"/api/v1/tiny/images/{image_id}").json()["error"] == "gone"
    html = site.get("/tiny/1/0").text
    assert caption not in html
    assert f"/thumbs/{image_id}.webp" not in html
    assert 'class="image removed"' in html
    found = site.get("/api/v1/tiny/1/0").json()
    assert found["top_images"][0] == {
        **{key: top[key] for key in ("rank", "image_id", "activation", "position", "url", "thumb_url")},
        **{"key": "removed", "caption": None, "source_url": None, "punsafe": None, "removed": True},
    }
    after = site.get("/tiny/grids/1/cls/0.webp")
    assert after.headers["etag"] != before.headers["etag"]
    assert found["grid_url"] in html.replace("&amp;", "&") or "big-grid" in html
    write(blocklist)
    assert site.get(f"/tiny/images/{image_id}").status_code == 200
    assert site.get("/tiny/grids/1/cls/0.webp").content == before.content


def test_a_blocked_image_is_not_found_and_the_next_one_is(start_site: StartSite, blocklist: Path) -> None:
    site = start_site(blocklist=blocklist)
    found = [each["image_id"] for each in site.get("/api/v1/tiny/search?q=heart").json()["images"]]
    assert len(found) > 2
    write(blocklist, *(f"{image_id:064x}" for image_id in found[:2]))
    after = [each["image_id"] for each in site.get("/api/v1/tiny/search?q=heart").json()["images"]]
    assert after[: len(found) - 2] == found[2:]
    assert len(after) == len(found)


def test_the_cell_of_a_blocked_image_is_covered_and_no_other(
    small_index: SmallIndex, blocklist: Path
) -> None:
    with ModeratedReader(small_index.index_dir, BlockList(blocklist)) as reader:
        clear = opened(reader.grid(SLOT, 0))
        write(blocklist, f"{tops(reader)[4]:064x}")
        covered = opened(reader.grid(SLOT, 0))
    side = clear.width // 3
    for at in range(9):
        cell = (at % 3 * side, at // 3 * side, (at % 3 + 1) * side, (at // 3 + 1) * side)
        middle = covered.crop(cell).resize((1, 1)).getpixel((0, 0))
        assert (
            distance(middle, COVER) < 6
            if at == 4
            else distance(middle, clear.crop(cell).resize((1, 1)).getpixel((0, 0))) < 12
        )


def tops(reader: ModeratedReader) -> list[int]:
    return [top.image_id for top in reader.feature(1, 0).top_images[:9]]


def opened(webp: bytes) -> Image.Image:
    return Image.open(io.BytesIO(webp)).convert("RGB")


def distance(one: object, other: object) -> int:
    assert isinstance(one, tuple)
    assert isinstance(other, tuple)
    return max(abs(int(a) - int(b)) for a, b in zip(one, other, strict=True))
