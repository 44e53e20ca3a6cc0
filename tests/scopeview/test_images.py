"""One decode path: formats by content, limits by header, nothing damaged let in, only pixels let out."""

import io
import pickle
import struct
import tarfile
import zlib
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageOps, PngImagePlugin

from scopeview import images
from scopeview.errors import BadReason, ImageError
from scopeview.images import MAX_SCANS, ImageLimits, decode, encode_webp, thumbnail
from tests.image_sets import ImageSets

LIMITS = ImageLimits()


def sample_image(width: int = 40, height: int = 30) -> Image.Image:
    rng = np.random.default_rng(0)
    return Image.fromarray(rng.integers(0, 256, (height, width, 3), dtype=np.uint8))


def encoded(image: Image.Image, kind: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def pixels(data: bytes) -> np.ndarray:
    return np.asarray(decode(data, LIMITS).image)


def reason_of(data: bytes, limits: ImageLimits = LIMITS) -> BadReason:
    with pytest.raises(ImageError) as caught:
        decode(data, limits)
    return caught.value.reason


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WebP", "GIF"])
def test_the_four_formats_are_told_by_content(kind: str) -> None:
    decoded = decode(encoded(sample_image(), kind), LIMITS)
    assert (decoded.format, decoded.width, decoded.height) == (kind, 40, 30)
    assert (decoded.image.mode, decoded.image.size) == ("RGB", (40, 30))


@pytest.mark.parametrize("kind", ["PNG", "WebP", "GIF"])
def test_only_the_first_frame_of_a_moving_image_counts(kind: str) -> None:
    first, second = sample_image().quantize(32).convert("RGB"), Image.new("RGB", (40, 30), "red")
    moving = encoded(first, kind, save_all=True, append_images=[second], lossless=True)
    np.testing.assert_array_equal(pixels(moving), np.asarray(first))


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WebP"])
def test_exif_orientation_is_applied_and_exif_is_gone(kind: str, orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    exif[0x010F] = "a camera maker"
    data = encoded(sample_image(), kind, exif=exif)
    decoded = decode(data, LIMITS)
    with Image.open(io.BytesIO(data)) as opened:
        expected = ImageOps.exif_transpose(opened).convert("RGB")
    np.testing.assert_array_equal(np.asarray(decoded.image), np.asarray(expected))
    assert (decoded.width, decoded.height) == expected.size
    assert decoded.image.info == {}
    assert not decoded.image.getexif()
    assert b"camera" not in encode_webp(decoded.image)


def test_broken_exif_leaves_the_image_as_it_is() -> None:
    broken = b"Exif\0\0MM\0*\0\0\0\x08\0\xff" + b"\xff" * 30
    data = encoded(sample_image(), "JPEG", exif=broken)
    np.testing.assert_array_equal(pixels(data), pixels(encoded(sample_image(), "JPEG")))


def test_colours_are_converted_as_the_models_processor_did() -> None:
    rgb = np.asarray(sample_image())
    alpha = np.random.default_rng(1).integers(0, 256, (30, 40, 1), dtype=np.uint8)
    rgba = Image.fromarray(np.concatenate([rgb, alpha], axis=2))
    np.testing.assert_array_equal(pixels(encoded(rgba, "PNG")), rgb)
    palette = sample_image().quantize(16)
    expected = np.asarray(palette.convert("RGB"))
    np.testing.assert_array_equal(pixels(encoded(palette, "PNG")), expected)
    np.testing.assert_array_equal(pixels(encoded(palette, "PNG", transparency=bytes(range(16)))), expected)
    grey = sample_image().convert("L")
    np.testing.assert_array_equal(pixels(encoded(grey, "PNG")), np.asarray(grey.convert("RGB")))
    with_alpha = grey.convert("LA")
    np.testing.assert_array_equal(pixels(encoded(with_alpha, "PNG")), np.asarray(grey.convert("RGB")))
    two_levels = sample_image().convert("1")
    np.testing.assert_array_equal(pixels(encoded(two_levels, "PNG")), np.asarray(two_levels.convert("RGB")))


def test_cmyk_goes_through_pillows_conversion() -> None:
    data = encoded(sample_image().convert("CMYK"), "JPEG")
    with Image.open(io.BytesIO(data)) as opened:
        assert opened.mode == "CMYK"
        np.testing.assert_array_equal(pixels(data), np.asarray(opened.convert("RGB")))


GREY_LEVELS = np.array([[0, 100, 255, 256, 0x8000, 60000, 0xFFFF]], dtype=np.uint16)


def test_sixteen_bit_grey_is_scaled_to_eight_bits() -> None:
    decoded = decode(encoded(Image.fromarray(GREY_LEVELS), "PNG"), LIMITS)
    assert decoded.is_grey_16_bit
    assert np.asarray(decoded.image)[0, :, 0].tolist() == [0, 0, 0, 1, 128, 234, 255]
    assert not decode(encoded(Image.new("L", (4, 4)), "PNG"), LIMITS).is_grey_16_bit


def test_sixteen_bit_grey_is_cut_off_at_255_for_an_index_that_was_made_so() -> None:
    found = decode(encoded(Image.fromarray(GREY_LEVELS), "PNG"), LIMITS, "clipped").image
    assert np.asarray(found)[0, :, 0].tolist() == [0, 100, 255, 255, 255, 255, 255]


@pytest.mark.parametrize("n_channels", [2, 3, 4])
def test_every_sixteen_bit_coding_is_reduced_alike(n_channels: int) -> None:
    """Pillow scales all but plain greyscale by itself, and cannot write them: they are put together here."""
    levels = np.repeat(GREY_LEVELS[..., None], n_channels, axis=2)
    coding = {2: 4, 3: 2, 4: 6}[n_channels]
    header = struct.pack(">IIBBBBB", levels.shape[1], 1, 16, coding, 0, 0, 0)
    data = png_of([(b"IHDR", header), (b"IDAT", zlib.compress(b"\0" + levels.astype(">u2").tobytes()))])
    assert pixels(data)[0, :, 0].tolist() == [0, 0, 0, 1, 128, 234, 255]


def test_an_empty_file_says_so() -> None:
    assert reason_of(b"") is BadReason.EMPTY


@pytest.mark.parametrize("kind", ["TIFF", "BMP", "ICO", "PPM", "PDF"])
def test_other_image_formats_are_unsupported(kind: str) -> None:
    assert reason_of(encoded(sample_image(), kind)) is BadReason.UNSUPPORTED


@pytest.mark.parametrize(
    "data", [b"<svg xmlns='http://www.w3.org/2000/svg'/>", b"<!doctype html>", b"\0" * 64, b"GIF"]
)
def test_what_is_no_image_is_unsupported_and_the_message_says_what_is_accepted(data: bytes) -> None:
    assert reason_of(data) is BadReason.UNSUPPORTED
    with pytest.raises(ImageError, match="JPEG, PNG, WebP or GIF"):
        decode(data, LIMITS)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WebP", "GIF"])
def test_a_file_cut_anywhere_is_corrupt(kind: str) -> None:
    data = encoded(sample_image(), kind)
    last = len(data) - (3 if kind == "GIF" else 1)  # a GIF's end marker comes after its pixels
    for cut in [12, 40, *range(50, last, 37), *range(last - 12, last + 1)]:
        assert reason_of(data[:cut]) in (BadReason.CORRUPT, BadReason.UNSUPPORTED), cut


@pytest.mark.parametrize("options", [{"progressive": True}, {"progressive": False, "restart_marker_rows": 1}])
def test_a_cut_jpeg_is_corrupt_in_every_coding(options: dict[str, object]) -> None:
    data = encoded(sample_image(160, 120), "JPEG", **options)
    assert decode(data, LIMITS).width == 160
    for cut in [len(data) // 2, len(data) - 100, len(data) - 2, len(data) - 1]:
        assert reason_of(data[:cut]) is BadReason.CORRUPT, cut


def test_a_png_with_a_wrong_checksum_is_corrupt() -> None:
    data = bytearray(encoded(sample_image(), "PNG"))
    data[data.index(b"IDAT") + 40] ^= 0xFF
    assert reason_of(bytes(data)) is BadReason.CORRUPT


FILM = b"\x00\x00\x00\x18ftypmp42" + bytes(range(256)) * 4
"""What a phone appends to a motion photo."""
SCAN, END = b"\xff\xda", b"\xff\xd9"


@pytest.mark.parametrize("progressive", [False, True])
@pytest.mark.parametrize(
    "trailer",
    [b"words that a camera writes", FILM, FILM + SCAN + FILM, FILM + END + FILM + SCAN, SCAN + END + SCAN],
)
def test_what_follows_the_end_of_a_jpeg_is_not_looked_at(trailer: bytes, progressive: bool) -> None:
    data = encoded(sample_image(), "JPEG", progressive=progressive)
    np.testing.assert_array_equal(pixels(data + trailer), pixels(data))
    for cut in (1, 2, 40):
        assert reason_of(data[:-cut]) is BadReason.CORRUPT


def test_the_first_image_of_several_counts_even_if_the_second_is_cut() -> None:
    several = encoded(sample_image(), "MPO", save_all=True, append_images=[sample_image(300, 200)])
    first = pixels(several)
    assert first.shape == (30, 40, 3)
    np.testing.assert_array_equal(pixels(several[: len(several) * 3 // 4]), first)
    assert reason_of(several[:600]) is BadReason.CORRUPT


def test_markers_inside_a_jpegs_metadata_say_nothing_of_its_pixels() -> None:
    plain = encoded(sample_image(), "JPEG")
    preview = encoded(sample_image(16, 12), "JPEG")
    for words in (preview, SCAN * 3, END * 3, b"\xff" * 9):
        commented = encoded(sample_image(), "JPEG", comment=words)
        np.testing.assert_array_equal(pixels(commented), pixels(plain))
        assert reason_of(commented[:-2]) is BadReason.CORRUPT


def test_a_cut_jpeg_before_a_whole_one_is_corrupt() -> None:
    data = encoded(sample_image(160, 120), "JPEG")
    assert reason_of(data[: len(data) // 2] + data) is BadReason.CORRUPT


LONG_TEXT = "x" * 1_500_000
"""More than Pillow unpacks of one chunk; a kilobyte or two when packed."""


def png_with(**metadata: object) -> bytes:
    info = PngImagePlugin.PngInfo()
    for add, words in metadata.items():
        if add.startswith("text"):
            info.add_text(add, str(words), zip=True)
        elif add.startswith("itxt"):
            info.add_itxt("XML:com.adobe.xmp", str(words), zip=True)
    extra = {key: value for key, value in metadata.items() if key in ("icc_profile", "exif")}
    return encoded(sample_image(), "PNG", pnginfo=info, **extra)


@pytest.mark.parametrize(
    "metadata",
    [
        {"text": LONG_TEXT},
        {"itxt": LONG_TEXT},
        {"icc_profile": bytes(1_500_000)},
        {f"text{i}": "y" * 1_000_000 for i in range(70)},  # more than Pillow unpacks of all together
    ],
    ids=["text", "XMP", "colour profile", "many texts"],
)
def test_a_png_whose_metadata_is_long_is_read_without_it(metadata: dict[str, object]) -> None:
    data = png_with(**metadata)
    assert len(data) < 200_000
    np.testing.assert_array_equal(pixels(data), np.asarray(sample_image()))
    assert reason_of(data[:-1]) is BadReason.CORRUPT
    assert reason_of(data[: len(data) // 2]) is BadReason.CORRUPT


def test_a_png_with_long_metadata_is_turned_all_the_same() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    upright = np.asarray(sample_image().transpose(Image.Transpose.ROTATE_270))
    np.testing.assert_array_equal(pixels(png_with(text=LONG_TEXT, exif=exif)), upright)


def test_a_png_with_a_damaged_optional_chunk_is_read_without_it() -> None:
    data = bytearray(png_with(text="words"))
    data[data.index(b"zTXt") + 10] ^= 0xFF
    np.testing.assert_array_equal(pixels(bytes(data)), np.asarray(sample_image()))


@given(
    st.sampled_from(["JPEG", "PNG", "WebP", "GIF"]), st.integers(4, 2000), st.binary(min_size=1, max_size=40)
)
def test_damage_gives_an_image_or_an_image_error_and_nothing_else(kind: str, at: int, junk: bytes) -> None:
    data = encoded(sample_image(20, 15), kind)
    at %= len(data)
    try:
        decoded = decode(data[:at] + junk + data[at + len(junk) :], LIMITS)
    except ImageError:
        return
    assert decoded.image.mode == "RGB"


def test_too_many_bytes_are_refused_before_anything_is_read() -> None:
    data = encoded(sample_image(), "PNG")
    assert reason_of(data, ImageLimits(max_bytes=len(data) - 1)) is BadReason.TOO_LARGE
    assert decode(data, ImageLimits(max_bytes=len(data))).format == "PNG"


def png_header(width: int, height: int) -> bytes:
    """A PNG that claims a size and holds one byte of pixels."""
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return png_of([(b"IHDR", header), (b"IDAT", zlib.compress(b"\0"))])


def png_of(chunks: list[tuple[bytes, bytes]]) -> bytes:
    body = b"".join(
        struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))
        for name, content in [*chunks, (b"IEND", b"")]
    )
    return b"\x89PNG\r\n\x1a\n" + body


@pytest.mark.parametrize("side_px", [7072, 20_000, 60_000])
def test_too_many_pixels_are_refused_by_the_header_without_decoding(side_px: int) -> None:
    assert reason_of(png_header(side_px, side_px)) is BadReason.TOO_MANY_PIXELS


def jpeg_of_scans(n_scans: int) -> bytes:
    """A progressive JPEG of 64 x 64 whose last scan comes again until there are so many."""
    made = encoded(sample_image(64, 64), "JPEG", progressive=True)
    last, end = made.rindex(b"\xff\xda"), made.rindex(b"\xff\xd9")
    return made[:end] + made[last:end] * (n_scans - made.count(b"\xff\xda")) + made[end:]


def test_a_jpeg_that_is_drawn_again_and_again_is_refused_without_decoding() -> None:
    assert decode(jpeg_of_scans(MAX_SCANS), LIMITS).width == 64
    assert reason_of(jpeg_of_scans(MAX_SCANS + 1)) is BadReason.TOO_MANY_SCANS


def test_large_jpegs_may_be_drawn_less_often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(images, "MAX_SCANNED_PIXELS", 20 * 64 * 64)
    assert decode(jpeg_of_scans(20), LIMITS).width == 64
    assert reason_of(jpeg_of_scans(21)) is BadReason.TOO_MANY_SCANS


def test_an_error_of_an_image_passes_from_process_to_process() -> None:
    error = pickle.loads(pickle.dumps(ImageError(BadReason.CORRUPT, "cut short")))
    assert (error.reason, str(error)) == (BadReason.CORRUPT, "cut short")


def test_the_pixel_limit_itself_is_accepted() -> None:
    assert decode(encoded(sample_image(), "PNG"), ImageLimits(max_pixels=1200)).width == 40
    assert (
        reason_of(encoded(sample_image(), "PNG"), ImageLimits(max_pixels=1199)) is BadReason.TOO_MANY_PIXELS
    )
    assert reason_of(png_header(7071, 7071)) is BadReason.CORRUPT


def test_every_web_image_decodes_the_same_in_many_threads(images: ImageSets) -> None:
    files: list[bytes] = []
    for tar_path in sorted(images.laion.glob("*.tar")):
        with tarfile.open(tar_path) as tar:
            members = [member for member in tar if member.name.endswith(".jpg")]
            files += [opened.read() for member in members if (opened := tar.extractfile(member))]
    assert len(files) == images.n_laion
    alone = [pixels(data).tobytes() for data in files]
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(lambda data: pixels(data).tobytes(), files)) == alone


def test_webp_is_the_same_every_time_and_carries_no_metadata() -> None:
    image = sample_image()
    image.info["icc_profile"] = b"secret profile"
    image.info["exif"] = b"Exif\0\0secret"
    first = encode_webp(image)
    assert first == encode_webp(image.copy())
    assert b"secret" not in first
    assert decode(first, LIMITS).image.size == (40, 30)


def test_a_thumbnail_shows_the_crop() -> None:
    crop = np.zeros((3, 64, 64), dtype=np.uint8)
    crop[0, :, :32] = 200
    with Image.open(io.BytesIO(thumbnail(crop, 32))) as image:
        assert (image.format, image.size) == ("WEBP", (32, 32))
        left, right = image.convert("RGB").getpixel((4, 16)), image.convert("RGB").getpixel((28, 16))
    assert isinstance(left, tuple)
    assert isinstance(right, tuple)
    assert left[0] > 180
    assert right[0] < 20
