"""Accepted input: formats, limits by the header, damaged files."""

import struct
import warnings
import zlib

import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from imgsvc.domain.imaging.compress import CodecLimits, ReservationTooSmall, compress
from imgsvc.domain.imaging.spec import Format, Spec
from imgsvc.errors import CodecError, DecodeError, NotAnImage, TooManyPixels, UnsupportedFormat
from support.images import (
    animation,
    cut_out,
    decoded,
    encoded,
    exif,
    huge_png,
    oriented,
    photo_jpeg,
    pixel,
    quarters,
    scene,
    truncated,
)

pytestmark = pytest.mark.usefixtures("prepared_pillow")
LIMITS = CodecLimits()


def reason(data: bytes, limits: CodecLimits = LIMITS, spec: Spec | None = None) -> CodecError:
    with pytest.raises(CodecError) as caught:
        compress(data, [spec or Spec()], limits)
    return caught.value


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"<!doctype html><html><body>404</body></html>",
        b'{"error": "gone"}',
        b"Not found",
        b"\0" * 64,
        b"\x1f\x8b\x08",
    ],
)
def test_other_files_are_reported_as_not_an_image(data: bytes) -> None:
    assert type(reason(data)) is NotAnImage


@pytest.mark.parametrize(
    ("data", "name"),
    [
        (b"%PDF-1.7\n", "PDF"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n", "PostScript"),
        (b"8BPS\0\1" + bytes(40), "Photoshop"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'></svg>", "SVG"),
        (b"\xef\xbb\xbf<?xml version='1.0'?>\n<!-- logo -->\n<svg width='9'/>", "SVG"),
        (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(40), "HEIC"),
        (b"\0\0\0\x18ftypmif1\0\0\0\0mif1heic" + bytes(40), "HEIC"),
        (b"\xff\x0a" + bytes(40), "JPEG XL"),
        (b"P6 2 2 255\n" + bytes(12), "Netpbm"),
        (encoded(quarters(), "DDS"), "DDS"),
    ],
)
def test_a_format_that_is_not_accepted_is_named(data: bytes, name: str) -> None:
    error = reason(data)
    assert type(error) is UnsupportedFormat
    assert name in error.detail


def test_blanks_before_svg_are_skipped_only_up_to_a_limit() -> None:
    assert type(reason(b" " * 1_000_000 + b"<svg>")) is NotAnImage, "and the search does not take a quarter of an hour"


def test_formats_can_be_excluded() -> None:
    error = reason(encoded(quarters(), "PNG"), CodecLimits(formats=("JPEG",)))
    assert type(error) is UnsupportedFormat
    assert "PNG" in error.detail


@pytest.mark.parametrize("image_format", ["JPEG", "PNG", "WEBP", "AVIF", "BMP", "TIFF", "JPEG2000", "GIF"])
@pytest.mark.parametrize("share", [0.2, 0.7])
def test_an_incomplete_image_is_a_decode_error_and_not_a_half_grey_image(image_format: str, share: float) -> None:
    assert type(reason(truncated(encoded(scene(200, 150), image_format), share))) is DecodeError


def test_an_image_with_a_broken_header_is_damaged() -> None:
    assert type(reason(b"\x89PNG\r\n\x1a\n" + b"\xff" * 40)) is DecodeError
    assert type(reason(b"\xff\xd8\xff\xe0\0")) is DecodeError


# -- pixels -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("side", [7_072, 10_001, 14_000, 60_000])
def test_too_many_pixels_are_refused_from_the_header_alone(side: int) -> None:
    assert type(reason(huge_png(side, side))) is TooManyPixels


def test_the_maximum_number_of_pixels_is_decoded() -> None:
    assert type(reason(huge_png(10_000, 5_000))) is DecodeError, "the file ends after the header"


@pytest.mark.parametrize("side", [8_000, 100_000])
def test_the_message_names_the_limit(side: int) -> None:
    assert "50 million" in reason(huge_png(side, side)).detail


@pytest.mark.parametrize("image_format", ["GIF", "PNG", "WEBP", "AVIF"])
def test_the_frames_of_an_animation_count_together(image_format: str) -> None:
    data = animation(image_format, count=4, size=(48, 32))
    limits = CodecLimits(max_pixels=48 * 32, max_animation_pixels=48 * 32 * 4 - 1)
    assert type(refused := reason(data, limits)) is TooManyPixels
    assert "million pixels in total" in refused.detail
    compress(data, [Spec(format=Format.jpeg)], limits)  # only the first frame is decoded
    assert compress(data, [Spec()], CodecLimits(max_pixels=48 * 32, max_animation_pixels=48 * 32 * 4)).renditions


@pytest.mark.parametrize("side", [9_600, 14_000])  # where Pillow's defaults warn, and where they refuse
def test_the_pixel_limit_holds_without_prepare_pillow(side: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 89_478_485)
    warnings.simplefilter("error")
    assert type(reason(huge_png(side, side))) is TooManyPixels


def test_a_larger_reservation_is_requested_before_decoding() -> None:
    data = photo_jpeg(100, 80)
    with pytest.raises(ReservationTooSmall) as caught:
        compress(truncated(data, 0.3), [Spec()], LIMITS, reserved_pixels=7_999)
    assert caught.value.pixels == 8_000
    assert compress(data, [Spec()], LIMITS, reserved_pixels=8_000).renditions


@pytest.mark.parametrize(
    ("input_format", "wanted", "weight"),
    [
        *(("JPEG", "original", 1), ("JPEG", "webp", 2), ("JPEG", "avif", 4), ("PNG", "original", 2.5)),
        *(
            ("PNG", "jpeg", 1),
            ("WEBP", "original", 3),
            ("AVIF", "original", 5),
            ("GIF", "original", 2.5),
            ("JPEG2000", "jpeg", 3),
        ),
    ],
)
def test_formats_that_take_more_memory_weigh_more(input_format: str, wanted: str, weight: float) -> None:
    assert weight_of(encoded(scene(100, 80), input_format), Spec(format=Format(wanted))) == weight


def weight_of(data: bytes, *specs: Spec) -> float:
    """Return the weight of an image of 8,000 pixels, per pixel."""
    with pytest.raises(ReservationTooSmall) as caught:
        compress(data, specs, LIMITS, reserved_pixels=1)
    return caught.value.pixels / 8_000


def test_a_progressive_jpeg_weighs_more() -> None:
    assert weight_of(photo_jpeg(100, 80, progressive=True), Spec()) == 2


@pytest.mark.parametrize("image_format", ["PNG", "TIFF"])
def test_flattening_transparency_weighs_more(image_format: str) -> None:
    assert weight_of(encoded(cut_out(100, 80), image_format), Spec(format=Format.jpeg)) == 2


def test_encoding_is_weighted_by_the_shrunk_size() -> None:
    assert weight_of(photo_jpeg(100, 80), Spec(format=Format.avif, max_width=50)) == 1 + 3 / 4


def test_the_heaviest_of_several_specs_counts() -> None:
    specs = [Spec(format=target) for target in (Format.jpeg, Format.avif, Format.webp)]
    assert weight_of(photo_jpeg(100, 80), *specs) == 4


def test_too_many_pixels_are_refused_before_a_reservation() -> None:
    with pytest.raises(TooManyPixels):
        compress(huge_png(), [Spec()], LIMITS, reserved_pixels=1_000)


# -- faults that are not visible --------------------------------------------------------------------------------------


@pytest.mark.parametrize("junk", [b"Exif\0\0", b"Exif\0\0junk" * 9, b"Exif\0\0II*\0\x08\0\0\0\xff\xff" + b"\x12" * 60])
def test_an_image_with_a_broken_exif_block_is_accepted(junk: bytes) -> None:
    result = compress(encoded(quarters(), "JPEG", exif=junk), [Spec(keep_metadata="all", quality=95)], LIMITS)
    assert decoded(result.renditions[0].data).size == (60, 40)


@pytest.mark.parametrize("image_format", ["PNG", "WEBP"])
@pytest.mark.parametrize(("size", "is_transposed"), [(2**20, True), (2**20 + 7, False)])
def test_an_exif_block_over_the_limit_is_ignored_and_removed(image_format: str, size: int, is_transposed: bool) -> None:
    block = exif(orientation=6, make="Camera").tobytes().ljust(size, b"\0")
    data = encoded(quarters(), image_format, exif=block)
    for policy in ("none", "all"):
        [rendition] = compress(data, [Spec(keep_metadata=policy)], LIMITS).renditions
        assert (rendition.width, rendition.height) == ((40, 60) if is_transposed else (60, 40))
        assert is_transposed or b"Camera" not in rendition.data


def test_an_image_with_a_broken_exif_block_in_a_text_is_accepted() -> None:
    comments = PngInfo()
    comments.add_text("Raw profile type exif", "\nexif\n4\nnot hexadecimal\n")
    assert compress(encoded(quarters(), "PNG", pnginfo=comments), [Spec()], LIMITS).renditions


@pytest.mark.parametrize("value", [0, 9, 65_535])
def test_an_invalid_orientation_means_upright(value: int) -> None:
    result = compress(oriented(value), [Spec()], LIMITS)
    assert pixel(decoded(result.renditions[0].data), (2, 2))[0] > 200


@pytest.mark.parametrize("image_format", ["GIF", "PNG"])
def test_a_truncated_animation_ends_at_the_last_undamaged_frame(image_format: str) -> None:
    data = animation(image_format, count=4, size=(120, 90))
    result = compress(truncated(data, 0.75), [Spec(format=Format.webp)], LIMITS)
    frames = getattr(decoded(result.renditions[0].data), "n_frames", 1)
    assert 1 <= frames < 4


def test_an_apng_without_an_undamaged_frame_becomes_its_still() -> None:
    frames = [quarters(), quarters().transpose(Image.Transpose.ROTATE_180)]
    data = encoded(scene(60, 40), "PNG", save_all=True, default_image=True, append_images=frames, duration=100)
    cut = data[: data.rindex(b"fdAT") - 80]
    result = compress(cut[: cut.index(b"fcTL") + 30], [Spec(format=Format.jpeg), Spec(format=Format.webp)], LIMITS)
    assert [rendition.width for rendition in result.renditions] == [60, 60]


# -- a transparent colour ----------------------------------------------------------------------------------------


def keyed_png(depth: int, colour_type: int, row: bytes, key: bytes) -> bytes:
    """Return a PNG of one row of four pixels, in which `key` is the transparent colour."""
    header = struct.pack(">IIBBBBB", 4, 1, depth, colour_type, 0, 0, 0)
    parts = (b"IHDR", header), (b"tRNS", key), (b"IDAT", zlib.compress(b"\0" + row)), (b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body)) for kind, body in parts
    )


@pytest.mark.parametrize(("depth", "row"), [(1, b"\x30"), (2, b"\x0f"), (4, b"\x00\xff"), (8, b"\0\0\xff\xff")])
def test_the_transparent_value_of_grey_is_scaled_to_8_bits(depth: int, row: bytes) -> None:
    data = keyed_png(depth, 0, row, struct.pack(">H", 2**depth - 1))
    [rendition] = compress(data, [Spec(format=Format.webp, quality=95)], LIMITS).renditions
    assert [pixel(decoded(rendition.data), (x, 0))[3] for x in range(4)] == [255, 255, 0, 0]


def test_the_transparent_colour_of_16_bits_is_scaled_to_8() -> None:
    row = struct.pack(">12H", *[0x1234] * 3, *[0xFFFF] * 3, *[0x8000] * 3, *[0] * 3)
    data = keyed_png(16, 2, row, struct.pack(">3H", *[0x1234] * 3))
    [rendition] = compress(data, [Spec(format=Format.png)], LIMITS).renditions
    assert [pixel(decoded(rendition.data), (x, 0))[3] for x in range(4)] == [0, 255, 255, 255]


def test_a_palette_image_without_a_palette_is_damaged() -> None:
    whole = encoded(quarters(8, 8).quantize(4), "PNG")
    start = whole.index(b"PLTE") - 4
    without = whole[:start] + whole[start + 12 + int.from_bytes(whole[start : start + 4], "big") :]
    for wanted in (Format.jpeg, Format.png, Format.original):
        assert type(reason(without, spec=Spec(format=wanted))) is DecodeError


def test_only_the_first_page_of_a_tiff_is_written() -> None:
    pages = [Image.new("L", (80, 60), 200), Image.new("L", (40, 30), 50)]
    data = encoded(pages[0], "TIFF", save_all=True, append_images=pages[1:])
    for wanted in Format:
        [rendition] = compress(data, [Spec(format=wanted)], LIMITS).renditions
        assert (rendition.width, rendition.height) == decoded(rendition.data).size == (80, 60)
