"""Frames and other parts of a file are counted before anything is decoded, and too many frames are refused."""

import struct
import zlib
from collections.abc import Callable
from io import BytesIO

import pytest
from PIL import Image

from imgsvc.domain.imaging.compress import CodecLimits, ReservationTooSmall, TooSlowForThread, compress
from imgsvc.domain.imaging.decode import ANIMATED_FORMATS
from imgsvc.domain.imaging.file_structure.frame_counts import layout_of
from imgsvc.domain.imaging.spec import Format, Spec
from imgsvc.errors import CodecError, TooManyFrames, TooManyPixels
from support.frame_bombs import apng, avif_bomb, avif_bomb_with_two_tables, chunk, gif_bomb, webp_bomb
from support.images import alpha_png, animation, corpus, decoded, encoded, multipage_tiff, photo_jpeg, scene

pytestmark = pytest.mark.usefixtures("prepared_pillow")
LIMITS = CodecLimits()


def reason(data: bytes, limits: CodecLimits = LIMITS, wanted: Format = Format.original) -> CodecError:
    with pytest.raises(CodecError) as caught:
        compress(data, [Spec(format=wanted)], limits)
    return caught.value


@pytest.mark.parametrize("image_format", ["GIF", "PNG", "WEBP", "AVIF"])
@pytest.mark.parametrize("count", [2, 3, 7])
def test_the_frames_of_an_animation_are_counted(image_format: str, count: int) -> None:
    assert layout_of(animation(image_format, count=count), 2_000).frames == count


def test_the_frame_count_equals_that_of_pillow() -> None:
    found = [path.read_bytes() for path, row in corpus("images") if row["verdict"].startswith("OK")]
    for data in [*found, alpha_png(), animation("PNG", default_image=True), photo_jpeg()]:
        image = Image.open(BytesIO(data))
        if image.format in ANIMATED_FORMATS:
            frames = getattr(image, "n_frames", 1) - bool(image.info.get("default_image"))
            assert layout_of(data, 2_000).frames == frames


@pytest.mark.parametrize("bomb", [gif_bomb, webp_bomb, avif_bomb, avif_bomb_with_two_tables])
def test_frames_are_counted_at_least_up_to_the_limit(bomb: Callable[[int], bytes]) -> None:
    assert layout_of(bomb(120_000), 2_000).frames > 2_000
    assert layout_of(bomb(50), 2_000).frames == 50


@pytest.mark.parametrize("runs", [[], [(1, 3)], [(1, 30)]])
def test_an_avif_with_two_tables_counts_no_fewer_frames_than_pillow_finds(runs: list[tuple[int, int]]) -> None:
    data = avif_bomb_with_two_tables(50, b"".join(struct.pack(">3I", *run, 1) for run in runs))
    assert layout_of(data, 2_000).frames >= getattr(Image.open(BytesIO(data)), "n_frames", 1)


def test_long_tables_of_an_avif_are_read_to_the_end() -> None:
    assert layout_of(avif_bomb_with_two_tables(50, struct.pack(">3I", 2, 1, 1) * 70_000), 2_000).frames > 2_000


def test_counting_stops_at_the_first_frame_over_the_limit() -> None:
    bomb = gif_bomb(120_000)
    assert layout_of(bomb, 2_000) == layout_of(bomb[: len(bomb) // 10], 2_000)


@pytest.mark.parametrize(
    "bomb", [gif_bomb(120_000), webp_bomb(5_000), avif_bomb(120_000), apng(announced=5_000, contained=5_000)]
)
@pytest.mark.parametrize("wanted", [Format.original, Format.webp])
def test_a_small_file_with_too_many_frames_is_refused_with_a_message(bomb: bytes, wanted: Format) -> None:
    refused = reason(bomb, wanted=wanted)
    assert type(refused) is TooManyFrames
    assert refused.detail == "The animation has more than 2,000 frames."


def test_as_many_frames_as_allowed_are_written() -> None:
    limits = CodecLimits(max_frames=50)
    assert compress(gif_bomb(50), [Spec(format=Format.webp)], limits).renditions
    assert type(reason(gif_bomb(51), limits)) is TooManyFrames


@pytest.mark.parametrize("data", [gif_bomb(5_000), apng(announced=5_000, contained=5_000)])
def test_the_first_of_too_many_frames_can_be_written_as_jpeg(data: bytes) -> None:
    assert compress(data, [Spec(format=Format.jpeg)], LIMITS).renditions[0].format == "jpeg"


@pytest.mark.parametrize("bomb", [webp_bomb(5_000), avif_bomb(5_000)])
def test_a_webp_or_avif_with_too_many_frames_is_not_opened(bomb: bytes) -> None:
    assert type(reason(bomb, wanted=Format.jpeg)) is TooManyFrames


@pytest.mark.parametrize(("announced", "contained"), [(2_000_000_000, 3), (3, 5_000)])
def test_an_apng_has_the_smaller_of_announced_and_actual_frames(announced: int, contained: int) -> None:
    data = apng(announced=announced, contained=contained)
    assert layout_of(data, 2_000).frames == 3
    [rendition] = compress(data, [Spec(format=Format.webp)], LIMITS).renditions
    assert getattr(decoded(rendition.data), "n_frames", 1) > 1


@pytest.mark.parametrize(
    "data", [multipage_tiff(), encoded(scene(), "MPO", save_all=True, append_images=[scene(seed=2)]), photo_jpeg()]
)
def test_pages_are_not_counted_as_frames(data: bytes) -> None:
    assert layout_of(data, 2_000).frames == 1
    assert compress(data, [Spec()], CodecLimits(max_frames=1)).renditions


def test_frames_larger_than_their_canvas_count_with_their_own_size() -> None:
    bomb = gif_bomb(100, size=(3_000, 3_000))
    assert type(reason(bomb)) is TooManyPixels
    assert type(reason(gif_bomb(2, size=(60_000, 60_000)))) is TooManyPixels


@pytest.mark.parametrize("data", [animation(kind) for kind in ("GIF", "PNG", "WEBP", "AVIF")] + [photo_jpeg(8, 8)])
def test_a_truncated_file_is_counted_up_to_its_end(data: bytes) -> None:
    counted = [layout_of(data[:length], 2_000).frames for length in range(len(data))]
    assert counted == sorted(counted)


def test_deeply_nested_boxes_are_not_followed() -> None:
    nested = b"".join(struct.pack(">I4s", 2**31, b"moov") for _ in range(100_000))
    assert layout_of(struct.pack(">I4s4s4x", 16, b"ftyp", b"avis") + nested, 2_000).frames == 1


# -- slow images --------------------------------------------------------------------------------------------------


def takes_long(data: bytes, *specs: Spec) -> bool:
    try:
        compress(data, specs or [Spec()], LIMITS, reserved_pixels=1, may_take_long=False)
    except TooSlowForThread:
        return True
    except ReservationTooSmall:
        return False
    raise AssertionError("one reserved pixel is enough for no image")


def many_scans() -> bytes:
    """Return a progressive JPEG whose last scan is repeated 1,000 times."""
    data = photo_jpeg(800, 600, progressive=True)
    at = data.rindex(b"\xff\xda")
    return data[:-2] + data[at:-2] * 1_000 + data[-2:]


def scans_of_a_plain_jpeg(count: int) -> bytes:
    """Return a JPEG that is not progressive and has `count` scans, each of one channel and empty."""
    data = encoded(scene(4_000, 3_000), "JPEG")
    scans = [b"\xff\xda\0\x08\x01" + bytes([channel, 0, 0, 63, 0]) for channel in (1, 2, 3)]
    return data[: data.index(b"\xff\xda")] + b"".join(scans[number % 3] for number in range(count)) + b"\xff\xd9"


def rows_of_one_pixel(width: int, height: int, *, lines: int) -> bytes:
    """Return a BMP in run lengths, whose `lines` end after one pixel; decoders fill the rest pixel by pixel."""
    runs = b"\1\7\0\0" * lines + b"\0\1"
    header = struct.pack("<IiiHHIIiiII", 40, width, height, 1, 8, 1, len(runs), 0, 0, 256, 0)
    return b"BM" + struct.pack("<I4xI", 1_078 + len(runs), 1_078) + header + bytes(1_024) + runs


def packed_chunks(kind: bytes, count: int, *, end: bytes = b"") -> bytes:
    """Return a PNG with `count` chunks of a megabyte in a kilobyte, whose last bytes may be replaced with `end`."""
    data, packed = encoded(scene(8, 8), "PNG"), zlib.compress(bytes(1_000_000), 9)
    return data[:33] + chunk(kind, b"x\0\0" + packed[: len(packed) - len(end)] + end) * count + data[33:]


def icon(png: bytes) -> bytes:
    return b"\0\0\1\0\1\0" + struct.pack("<4B2H2I", 8, 8, 0, 0, 1, 32, len(png), 22) + png


def exif_in_segments(count: int) -> bytes:
    segment = b"\xff\xe1" + struct.pack(">H", 98) + b"Exif\0\0" + bytes(90)
    return b"\xff\xd8" + segment * count + photo_jpeg(8, 8)[2:]


def strips(count: int, *, order: str = "<", big: bool = False) -> bytes:
    """Return a TIFF of `count` strips of one pixel, all at the same byte of the file."""
    tags = {256: 1, 257: count, 258: 8, 259: 1, 262: 1, 273: None, 277: 1, 278: 1, 279: 1}
    number, head = ("Q", 16) if big else ("L", 8)
    sizes = struct.calcsize(f"<HH{number}{number}"), struct.calcsize(f"<{number}")
    offset = head + (8 if big else 2) + len(tags) * sizes[0] + sizes[1]
    written = struct.pack(f"{order}{'Q' if big else 'H'}", len(tags)) + b"".join(
        struct.pack(f"{order}HH{number}{number}", tag, 16 if big else 4, count if value is None else 1, value or offset)
        for tag, value in tags.items()
    )
    begin = struct.pack(f"{order}HHHQ", 43, 8, 0, head) if big else struct.pack(f"{order}HL", 42, head)
    return (b"II" if order == "<" else b"MM") + begin + written + bytes(sizes[1]) + bytes(sizes[1] * count)


def numbers_in_exif(count: int, *, order: str = "<", tag: int = 0x8769) -> bytes:
    """Return a TIFF whose EXIF table has one tag of `count` numbers."""
    page = strips(1, order=order)
    [tags] = struct.unpack_from(order + "H", page, 8)
    page += bytes(len(page) % 2)
    offset = len(page) + 2 + 12 * (tags + 1) + 4
    pointer = struct.pack(order + "HHLL", tag, 4, 1, offset)
    table = (
        struct.pack(order + "HHHLLL", 1, 0x9999, 3, count, offset + 18, 0) + struct.pack(order + "H", 40_000) * count
    )
    moved = page[:4] + struct.pack(order + "L", len(page)) + page[8:]
    return moved + struct.pack(order + "H", tags + 1) + page[10 : 10 + 12 * tags] + pointer + bytes(4) + table


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(animation(count=200, size=(300, 250)), id="many frames"),
        pytest.param(many_scans(), id="scans"),
        pytest.param(gif_bomb(1)[:-1] + b"!\xfe" + b"\x01\0" * 1_500_000 + b";", id="blocks"),
        pytest.param(
            (png := encoded(scene(8, 8), "PNG"))[:33] + chunk(b"prVt", b"") * 1_200_000 + png[33:], id="chunks"
        ),
        pytest.param(b"\xff\xd8" + b"\xff\xfe\0\x02" * 1_200_000 + photo_jpeg(8, 8)[2:], id="segments"),
        pytest.param(b"\xff\xd8" + b"\xff" * 1_200_000 + photo_jpeg(8, 8)[2:], id="fill bytes"),
        pytest.param(scans_of_a_plain_jpeg(1_000), id="scans of a JPEG that is not progressive"),
        pytest.param(rows_of_one_pixel(1, 1, lines=8_000_000), id="run lengths"),
        pytest.param(packed_chunks(b"iCCP", 2_000), id="profiles"),
        pytest.param(icon(packed_chunks(b"iCCP", 2_000)), id="profiles in an icon"),
        pytest.param(packed_chunks(b"zTXt", 2_000, end=b"junk"), id="damaged texts"),
        pytest.param(exif_in_segments(40_000), id="EXIF in very many segments"),
        pytest.param(strips(1_000_000), id="strips"),
        pytest.param(strips(1_000_000, order=">"), id="strips, big endian"),
        pytest.param(strips(1_000_000, big=True), id="strips of a BigTIFF"),
        pytest.param(numbers_in_exif(1_000_000), id="numbers in the EXIF of a TIFF"),
        pytest.param(numbers_in_exif(1_000_000, order=">", tag=0x8825), id="numbers in its GPS, big endian"),
        pytest.param(icon(encoded(Image.new("1", (2_000, 2_000)), "PNG")), id="a large image in an icon"),
    ],
)
def test_images_that_take_seconds_are_detected_before_decoding(data: bytes) -> None:
    assert takes_long(data)


@pytest.mark.parametrize(
    "data",
    [
        photo_jpeg(),
        photo_jpeg(progressive=True),
        animation(),
        encoded(scene(), "PNG"),
        encoded(scene(), "TIFF", compression="tiff_lzw"),
        strips(5_000),
        numbers_in_exif(5_000),
        packed_chunks(b"zTXt", 20),
        rows_of_one_pixel(600, 400, lines=400),
        encoded(scene(256, 256), "ICO"),
        scans_of_a_plain_jpeg(3),
        photo_jpeg(4_000, 3_000)[:-2] + b"\xff\xd9" + b"\xff\xda video of a phone" * 1_000,
    ],
)
def test_quick_images_are_not_considered_slow(data: bytes) -> None:
    assert not takes_long(data)


@pytest.mark.parametrize(
    ("data", "long"),
    [
        (rows_of_one_pixel(7_000, 6_000, lines=6_000), True),
        (rows_of_one_pixel(7_000, -6_000, lines=6_000), True),
        (encoded(scene(7_000, 6_000), "BMP"), False),
    ],
    ids=["in run lengths", "from the top down", "plain"],
)
def test_a_large_bmp_in_run_lengths_takes_long(data: bytes, long: bool) -> None:
    assert takes_long(data, Spec(format=Format.jpeg)) == long


def test_the_times_of_several_renditions_are_added() -> None:
    specs = [Spec(name=f"r{number}", format=Format.avif) for number in range(20)]
    assert not takes_long(photo_jpeg(), specs[0])
    assert takes_long(photo_jpeg(), *specs)


def test_pillow_opens_the_files_made_here() -> None:
    """The files of this module are valid."""
    for data, frames in ((gif_bomb(50), 50), (webp_bomb(50), 50), (apng(announced=9, contained=9), 9)):
        assert getattr(Image.open(BytesIO(data)), "n_frames", 1) == frames
    for tiff in (strips(50), strips(50, order=">"), strips(50, big=True)):
        assert Image.open(BytesIO(tiff)).size == (1, 50)
    for order in "<>":
        assert len(Image.open(BytesIO(numbers_in_exif(50, order=order))).getexif().get_ifd(0x8769)[0x9999]) == 50
    assert decoded(rows_of_one_pixel(60, 40, lines=40)).size == (60, 40)
    assert decoded(scans_of_a_plain_jpeg(50)).size == (4_000, 3_000)
