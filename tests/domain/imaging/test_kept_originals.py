"""A kept original leaks nothing: neither metadata that was read nor bytes that no decoder reads."""

from collections.abc import Sequence
from typing import Any, Literal
from zlib import crc32

import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from support.hiding_places import ALPHA, LOSSLESS, colours, moving_gif, png, steps_of_index
from support.images import GPS, animation, cut_out, decoded, encoded, exif, photo_jpeg, quarters, scene
from support.metadata import TAGS, rendition, segment

pytestmark = pytest.mark.usefixtures("prepared_pillow")
XMP = b"<x:xmpmeta xmlns:x='adobe:ns:meta/'>48 N</x:xmpmeta>"
SECRET = b"where I live"


@pytest.mark.parametrize("policy", ["none", "copyright"])
@pytest.mark.parametrize("hidden", [{"exif": TAGS}, {"xmp": XMP}])
def test_a_location_is_removed_even_if_the_image_grows(policy: str, hidden: dict[str, Any]) -> None:
    data = photo_jpeg(quality=5, **hidden)
    result = rendition(data, policy, quality=95)
    assert len(result.data) > len(data), "the test needs an image that grows"
    assert result.action == "compressed"
    assert not decoded(result.data).getexif().get_ifd(GPS)
    assert b"48 N" not in result.data


def test_an_original_with_only_credits_is_kept() -> None:
    data = photo_jpeg(quality=5, exif=exif(copyright="Shop Ltd"))
    assert rendition(data, "copyright", quality=95).action == "kept_original"
    assert rendition(data, "none", quality=95).action == "compressed"
    assert rendition(photo_jpeg(quality=5, exif=TAGS), "all", quality=95).action == "kept_original"


@pytest.mark.parametrize(
    ("policy", "action"), [("none", "compressed"), ("copyright", "compressed"), ("all", "kept_original")]
)
def test_a_comment_is_kept_only_under_policy_all(policy: str, action: str) -> None:
    assert rendition(photo_jpeg(quality=5, comment=b"by a program"), policy, quality=95).action == action


def chunk(kind: bytes, body: bytes) -> bytes:
    """Return a chunk of a PNG."""
    return len(body).to_bytes(4, "big") + kind + body + crc32(kind + body).to_bytes(4, "big")


def before_the_end(png: bytes, *chunks: bytes) -> bytes:
    return png[:-12] + b"".join(chunks) + png[-12:]


def with_riff_chunk(webp: bytes, kind: bytes, body: bytes) -> bytes:
    body = kind + len(body).to_bytes(4, "little") + body + bytes(len(body) % 2)
    return webp[:4] + (len(webp) - 8 + len(body)).to_bytes(4, "little") + webp[8:] + body


def text(key: str, value: str, **options: Any) -> PngInfo:
    info = PngInfo()
    info.add_text(key, value, **options)
    return info


GREY = scene().convert("L")
TINY = {
    "JPEG": photo_jpeg(quality=5),
    "progressive JPEG": photo_jpeg(quality=5, progressive=True, restart_marker_rows=1),
    "JPEG with ICC and Adobe": encoded(scene(), "JPEG", quality=5, keep_rgb=True),
    "PNG": encoded(GREY, "PNG", optimize=True),
    "APNG": encoded(GREY, "PNG", optimize=True, save_all=True, append_images=[GREY.rotate(90)]),
    "JPEG of odd sizes": photo_jpeg(333, 217, quality=5, progressive=True),
    "grey JPEG": encoded(GREY, "JPEG", quality=5, optimize=True),
    "PNG with a palette": png((b"PLTE", colours(240)), (b"tRNS", bytes(9)), data=steps_of_index(240), colour=3),
    "PNG of one bit": png(depth=1),
    "WebP": encoded(scene(), "WEBP", quality=1, method=6),
    "WebP with alpha": ALPHA,
    "lossless WebP": LOSSLESS,
    "animated WebP": animation("WEBP", quality=1, method=6),
    "GIF": encoded(quarters(16, 16).quantize(4), "GIF"),
    "animated GIF": animation("GIF", count=2, size=(16, 16)),
    "GIF of one pixel": encoded(Image.new("P", (1, 1)), "GIF"),
    "animated GIF of few codes": moving_gif(),
    "AVIF": encoded(scene(), "AVIF", quality=1, speed=4),
    "AVIF with alpha": encoded(cut_out(), "AVIF", quality=1, speed=4),
}
LARGE = {"quality": 95}


@pytest.mark.parametrize("policy", ["none", "copyright", "all"])
@pytest.mark.parametrize("data", TINY.values(), ids=TINY)
def test_an_image_that_is_already_small_is_kept(data: bytes, policy: str) -> None:
    assert rendition(data, policy, **LARGE).action == "kept_original"


JPEG, PNG, GIF, WEBP = (TINY[name] for name in ("JPEG", "PNG", "GIF", "WebP"))
PRIVATE = exif(make=SECRET.decode()).tobytes()
HIDDEN = {
    "JPEG, a segment of a camera's maker": JPEG[:2] + segment(0xE3, SECRET) + JPEG[2:],
    "JPEG, JUMBF": JPEG[:2] + segment(0xEB, b"JP" + SECRET) + JPEG[2:],
    "JPEG, a second EXIF": photo_jpeg(quality=5, exif=exif(copyright="Shop"), extra=segment(0xE1, PRIVATE)),
    "JPEG, extended XMP": JPEG[:2] + segment(0xE1, b"http://ns.adobe.com/xmp/extension/\0" + SECRET) + JPEG[2:],
    "JPEG, several images": JPEG[:2] + segment(0xE2, b"MPF\0" + SECRET) + JPEG[2:],
    "JPEG, after its end": JPEG + SECRET,
    "PNG, text": encoded(GREY, "PNG", optimize=True, pnginfo=text("exif:GPSLatitude", SECRET.decode())),
    "PNG, compressed text": encoded(GREY, "PNG", optimize=True, pnginfo=text("Comment", SECRET.decode() * 9, zip=True)),
    "PNG, a private chunk": before_the_end(PNG, chunk(b"prVt", SECRET)),
    "PNG, EXIF after the image": before_the_end(PNG, chunk(b"eXIf", PRIVATE[6:])),
    "PNG, after its end": PNG + SECRET,
    "APNG, EXIF after the frames": before_the_end(TINY["APNG"], chunk(b"eXIf", PRIVATE[6:])),
    "WebP, a private chunk": with_riff_chunk(WEBP, b"PRIV", SECRET),
    "WebP, after its end": WEBP + SECRET,
    "GIF, XMP": GIF[:-1] + b"\x21\xff\x0bXMP DataXMP" + bytes([len(SECRET)]) + SECRET + b"\0" + GIF[-1:],
    "GIF, after its end": GIF + SECRET,
    "AVIF, a private box": TINY["AVIF"] + (8 + len(SECRET)).to_bytes(4, "big") + b"priv" + SECRET,
}


@pytest.mark.parametrize("policy", ["none", "copyright"])
@pytest.mark.parametrize("data", HIDDEN.values(), ids=HIDDEN)
def test_hidden_metadata_is_removed(data: bytes, policy: str) -> None:
    result = rendition(data, policy, **LARGE)
    assert result.action == "compressed"
    assert SECRET not in result.data


@pytest.mark.parametrize("data", HIDDEN.values(), ids=HIDDEN)
def test_policy_all_keeps_the_original(data: bytes) -> None:
    assert rendition(data, "all", **LARGE).action == "kept_original"


def test_credits_with_a_second_directory_are_not_kept() -> None:
    block = exif(copyright="Shop")
    alone = photo_jpeg(quality=5, exif=block.tobytes())
    assert rendition(alone, "copyright", **LARGE).action == "kept_original"
    data = photo_jpeg(quality=5, exif=_with_second_directory(block))
    assert rendition(data, "copyright", **LARGE).action == "compressed"


def _with_second_directory(block: Image.Exif) -> bytes:
    """Return `block` as Pillow writes it, with a second directory of one tag, the maker `Cam`."""
    written = bytearray(block.tobytes())
    start = 6  # the TIFF header
    order: Literal["little", "big"] = "little" if written[start : start + 2] == b"II" else "big"
    first = start + int.from_bytes(written[start + 4 : start + 8], order)
    after = first + 2 + 12 * int.from_bytes(written[first : first + 2], order)
    written[after : after + 4] = (len(written) - start).to_bytes(4, order)
    fields: Sequence[tuple[int, int]] = ((1, 2), (0x010F, 2), (2, 2), (4, 4))
    written += b"".join(value.to_bytes(size, order) for value, size in fields) + b"Cam\0" + bytes(4)
    return bytes(written)


@pytest.mark.parametrize("policy", ["none", "copyright", "all"])
@pytest.mark.parametrize("kind", [b"IDAT", b"fdAT"])
def test_a_png_with_a_wrong_checksum_is_encoded_again(kind: bytes, policy: str) -> None:
    """Pillow reads such a file; Firefox does not."""
    whole = TINY["APNG"]
    at = whole.rindex(kind)
    end = at + 4 + int.from_bytes(whole[at - 4 : at], "big")
    result = rendition(whole[:end] + b"\0\0\0\0" + whole[end + 4 :], policy, **LARGE)
    assert result.action == "compressed"
    assert chunk_is_whole(result.data, b"IDAT")


def chunk_is_whole(data: bytes, kind: bytes) -> bool:
    at = data.index(kind)
    end = at + 4 + int.from_bytes(data[at - 4 : at], "big")
    return crc32(data[at:end]) == int.from_bytes(data[end : end + 4], "big")


def test_unused_colours_of_a_gif_are_made_black_and_nothing_else_changes() -> None:
    data = moving_gif(spare=SECRET.ljust(48))
    result = rendition(data, "none", **LARGE)
    assert result.action == "compressed"
    assert result.data == moving_gif()
    assert len(result.data) == len(data)


def test_a_small_jpeg_with_too_many_blocks_is_not_verified() -> None:
    """Six scans of 765,625 blocks, almost none of which has a code of its own."""
    data = encoded(Image.new("L", (7_000, 7_000)), "JPEG", quality=5, progressive=True)
    assert len(data) < 200_000
    assert rendition(data, "all", **LARGE).action == "kept_original"
    assert rendition(data, "none", **LARGE).action == "compressed"
