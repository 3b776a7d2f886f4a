"""Fuzzing of the compressor with damaged images and all options."""

import struct
import zlib
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from random import Random
from typing import Any

from PIL import Image

from fuzzing.mutations import Case, Mutator
from imgsvc.domain.imaging.compress import CodecLimits, Rendition, ReservationTooSmall, compress, prepare_pillow
from imgsvc.domain.imaging.shape import shape_of
from imgsvc.domain.imaging.spec import Format, Spec
from imgsvc.domain.imaging.xmp import digital_source_of, packet_of, packet_with, parse
from imgsvc.errors import CodecError

LIMITS = CodecLimits(max_pixels=4_000_000)
MAX_SEED_BYTES = 400_000
"""Bytes; larger files are only slower."""
MODES = ("1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "I;16", "F")
FORMATS: tuple[tuple[str, dict[str, Any]], ...] = (
    ("JPEG", {"quality": 80}), ("JPEG", {"progressive": True, "icc_profile": b"x" * 200}), ("PNG", {}),
    ("WEBP", {"lossless": True}), ("WEBP", {"quality": 50}), ("AVIF", {"speed": 10}), ("GIF", {}), ("BMP", {}),
    ("TIFF", {}), ("TIFF", {"compression": "tiff_lzw"}), ("TIFF", {"compression": "jpeg"}), ("ICO", {}),
    ("JPEG2000", {}), ("MPO", {}),
)  # fmt: skip
ANIMATED = ("PNG", "WEBP", "AVIF", "GIF", "TIFF", "MPO")
WITHOUT_EXIF = ("AVIF", "TIFF")  # Pillow 13 cannot write them with GPS, or animated with an orientation
COPYRIGHT, ORIENTATION, GPS = 0x8298, 0x0112, 0x8825
PNG = b"\x89PNG\r\n\x1a\n"
PIECES = (
    *(b"\0", b"\xff", b"\xff\xd8", b"\xff\xd9", b"\xff\xda", b"\xff\xc2", b"\xff\xe1\0\x10Exif\0\0", b"\0" * 4096),
    *(b"IEND", b"acTL", b"fcTL\0\0\0\1", b"tRNS", b"ANIM", b"moov", b"!\xf9\x04\x01\0\0\0\0", b";", b"II*\0", b"MM\0*"),
)


class Images:
    def __init__(self, corpora: Path) -> None:
        prepare_pillow(LIMITS)
        folder = corpora / "images"
        found = [path.read_bytes() for path in sorted(folder.glob("*")) if path.stat().st_size <= MAX_SEED_BYTES]
        self.seeds = [*_generated(), *found]

    def make(self, rng: Random) -> Case:
        """Return a case whose plan is the specs and the number of reserved pixels."""
        data, mutator = rng.choice(self.seeds), Mutator(rng, self.seeds, PIECES)
        if rng.random() < 0.4:
            data = _rearranged(data, rng.choice(self.seeds), mutator)
        if rng.random() < 0.7:
            data = mutator.mutated(data)
        specs = tuple(_spec(name, rng) for name in rng.choice(("a", "a", "ab")))
        return Case(data, (specs, rng.choice((None, None, None, 200_000))))

    def attempt(self, case: Case) -> str:
        specs, now = case.plan
        try:
            done = compress(case.data, specs, LIMITS, reserved_pixels=now)
        except ReservationTooSmall as exc:
            assert exc.pixels > now
            return "more_pixels"
        except CodecError as exc:
            return f"{exc.code} ({type(exc.__cause__).__name__})"
        for spec, rendition in zip(specs, done.renditions, strict=True):
            _check(rendition, spec, (done.width, done.height))
        return "accepted"


def _check(rendition: Rendition, spec: Spec, size: tuple[int, int]) -> None:
    """Check that the rendition can be opened, has the right format and size, and no metadata that had to be removed."""
    assert spec.trim or (rendition.width, rendition.height) == shape_of(spec, size).size
    with Image.open(BytesIO(rendition.data)) as image:
        image.load()
        assert image.size == (rendition.width, rendition.height)
        assert (image.format or "").lower().replace("mpo", "jpeg") == rendition.format.replace("mpo", "jpeg")
        assert spec.format is Format.original or spec.format.value == rendition.format
        assert spec.keep_metadata == "all" or not (GPS in image.getexif() or _has_other_xmp(image))
        assert spec.keep_metadata != "none" or COPYRIGHT not in image.getexif()


def _has_other_xmp(image: Image.Image) -> bool:
    """Return whether there is XMP other than the digital source type."""
    packet = packet_of(image.info)
    return bool(packet) and packet != packet_with(digital_source_of(parse(packet)) or "")


def _spec(name: str, rng: Random) -> Spec:
    return Spec(
        name=name,
        format=rng.choice(list(Format)),
        quality=rng.choice((1, 30, 50, 90, 95)),
        max_width=rng.choice((None, None, 1, 64, 5_000)),
        max_height=rng.choice((None, None, 1, 64, 5_000)),
        keep_metadata=rng.choice(("none", "copyright", "all")),
        background=rng.choice(("#ffffff", "red")),
        fit=rng.choice((None, None, "contain", "cover", "pad")),
        width=rng.choice((1, 70, 3_000)),
        height=rng.choice((1, 90, 2_000)),
        trim=rng.random() < 0.2,
        margin=rng.choice((0, 7, 40)),
    )


def _generated() -> Iterator[bytes]:
    """Yield an image and an animation of every format and mode that Pillow can write, with EXIF."""
    soft = Image.effect_noise((8, 6), 90).resize((53, 41))
    colours = Image.merge(
        "RGBA", (soft, soft.transpose(Image.Transpose.ROTATE_180), soft.point(lambda v: 255 - v), soft)
    )
    exif = Image.Exif()
    exif[COPYRIGHT], exif[ORIENTATION], exif[GPS] = "Shop", 6, {1: "N"}
    for image_format, options in FORMATS:
        metadata = {} if image_format in WITHOUT_EXIF else {"exif": exif}
        for mode in MODES if options != {"compression": "jpeg"} else ("L", "RGB"):
            image = colours.convert("L" if mode in {"I;16", "F"} else "RGB" if mode == "CMYK" else "RGBA").convert(mode)
            for animated in (False, True)[: 1 + (image_format in ANIMATED)]:
                more = {"save_all": True, "append_images": [image.copy().rotate(90), image]} if animated else {}
                buffer = BytesIO()
                try:
                    image.save(buffer, image_format, **options, **more, **metadata)
                except (OSError, ValueError, TypeError, KeyError, RuntimeError):  # the format has no such mode
                    continue
                yield buffer.getvalue()


def _rearranged(data: bytes, donor: bytes, mutator: Mutator) -> bytes:
    """Change chunks, segments or boxes of `data`; most checksums of a PNG are corrected."""
    rng, parts, others = mutator.rng, list(_parts(data)), list(_parts(donor))
    for _ in range(rng.choice((1, 1, 2, 4))):
        at, change = rng.randrange(len(parts)), rng.randrange(6)
        if change == 0:
            del parts[at : at + (len(parts) > 1)]
        elif change == 1:
            parts[at:at] = [parts[at]] * rng.choice((1, 2, 50))
        elif change == 2:
            other = rng.randrange(len(parts))
            parts[at], parts[other] = parts[other], parts[at]
        elif change == 3:
            parts[at : at + rng.randrange(2)] = [rng.choice(others)]
        else:
            parts[at] = mutator.mutated(parts[at])
    if not data.startswith(PNG):
        return b"".join(parts)
    return PNG + b"".join(_chunk(part) if rng.random() < 0.95 else part for part in parts[1:])


def _chunk(part: bytes) -> bytes:
    body = part[4:-4]
    return struct.pack(">I", max(0, len(body) - 4)) + body + struct.pack(">I", zlib.crc32(body))


def _parts(data: bytes) -> Iterator[bytes]:
    """Yield the parts of `data`, at least one."""
    at = 0
    while (end := min(len(data), _end_of_part(data, at))) > at:
        yield data[at:end]
        at = end
    if at < len(data) or not data:
        yield data[at:]


def _end_of_part(data: bytes, at: int) -> int:
    if data.startswith(PNG):
        return at + 12 + int.from_bytes(data[at : at + 4], "big") if at else len(PNG)
    if data.startswith(b"RIFF"):
        return at + 8 + (-(-int.from_bytes(data[at + 4 : at + 8], "little") // 2) * 2 if at else 4)
    if data.startswith(b"\xff\xd8"):
        has_no_length = not at or data[at + 1 : at + 2] in {b"\xda", b"\xd9", b""}
        return (len(data) if at else 2) if has_no_length else at + 2 + int.from_bytes(data[at + 2 : at + 4], "big")
    if data[4:8] in {b"ftyp", b"jP  "}:
        return at + int.from_bytes(data[at : at + 4], "big")
    return at + max(16, len(data) // 16)
