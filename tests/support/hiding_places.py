"""Images with hidden bytes, one for each place in each format where bytes can be hidden."""

import random
import zlib
from collections.abc import Iterator, Mapping
from contextlib import suppress
from io import BytesIO
from itertools import count, product

from PIL import Image, ImageCms, ImageDraw

from support.images import animation, cut_out, decoded, encoded, exif, photo_jpeg, quarters, scene
from support.metadata import segment

SECRET = b"48.13743 N 11.57549 E, Anna's flat, third floor"
"""ASCII, so that no format takes a byte of it for a marker."""

# -- JPEG -------------------------------------------------------------------------------------------------------------

JPEG = photo_jpeg(quality=5)
RESTARTS = photo_jpeg(quality=5, restart_marker_rows=8)
PROGRESSIVE = photo_jpeg(quality=5, progressive=True)
OTHER = photo_jpeg(quality=5, progressive=True, seed=2)
LUMA_TABLE = b"\xff\xc4\0\xb5\x10"


def scans(jpeg: bytes) -> list[bytes]:
    """Return the scans of a progressive JPEG, each with the Huffman tables before it."""
    pieces = jpeg.removesuffix(b"\xff\xd9").split(b"\xff\xda")
    cuts = [piece.rfind(b"\xff\xc4\0", 0) for piece in pieces]
    heads = [piece[cut:] if cut >= 0 else b"" for piece, cut in zip(pieces, cuts, strict=True)]
    bodies = [piece[: cut if cut >= 0 else None] for piece, cut in zip(pieces, cuts, strict=True)]
    return [head + b"\xff\xda" + body for head, body in zip(heads, bodies[1:], strict=False)]


def after_start(jpeg: bytes, *segments: bytes) -> bytes:
    return jpeg[:2] + b"".join(segments) + jpeg[2:]


def before(mark: bytes, jpeg: bytes, content: bytes) -> bytes:
    at = jpeg.rindex(mark)
    return jpeg[:at] + content + jpeg[at:]


def resized(jpeg: bytes, width: int, height: int) -> bytes:
    """Return `jpeg` with another size in its header and the same scans: the rest is not shown."""
    at = next(found for mark in (b"\xff\xc0", b"\xff\xc2") if (found := jpeg.find(mark)) > 0)
    return jpeg[: at + 5] + height.to_bytes(2, "big") + width.to_bytes(2, "big") + jpeg[at + 9 :]


def with_own_thumbnail(jpeg: bytes) -> bytes:
    """Return `jpeg` with a thumbnail in the JFIF segment itself: 4 × 4 pixels of three bytes."""
    return jpeg[:2] + segment(0xE0, jpeg[6:18] + b"\4\4" + SECRET + b" ") + jpeg[20:]


def with_symbols(jpeg: bytes) -> bytes:
    """Return `jpeg` with the secret in place of the rarest symbols of the Huffman table for luma."""
    end = jpeg.index(LUMA_TABLE) + len(LUMA_TABLE) + 16 + 162
    return jpeg[: end - len(SECRET)] + SECRET + jpeg[end:]


def with_steps(jpeg: bytes) -> bytes:
    """Return `jpeg` with the secret in place of the steps of the highest frequencies, whose coefficients are all 0."""
    end = jpeg.index(b"\xff\xdb") + 5 + 64
    return jpeg[: end - len(SECRET)] + SECRET + jpeg[end:]


def steps_of(jpeg: bytes) -> bytes:
    """Return the 64 steps of the first quantisation table."""
    at = jpeg.index(b"\xff\xdb") + 5
    return jpeg[at : at + 64]


def profile() -> bytes:
    """Return Pillow's sRGB profile with the secret in place of its name, of the same length."""
    plain = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    at = plain.index("sRGB built-in".encode("utf-16-be"))
    return plain[:at] + SECRET[:26] + plain[at + 26 :]


def jpegs() -> Iterator[tuple[str, bytes]]:
    thumbnail = b"JFXX\0\x13\4\4" + SECRET + b" "
    unused = b"".join(len(SECRET).to_bytes(1, "big") if length == 8 else b"\0" for length in range(1, 17))
    yield "a JFXX thumbnail", JPEG[:20] + segment(0xE0, thumbnail) + JPEG[20:]
    yield "a thumbnail in JFIF", with_own_thumbnail(JPEG)
    yield "a comment", after_start(JPEG, segment(0xFE, SECRET))
    yield "a comment between scans", before(b"\xff\xda", PROGRESSIVE, segment(0xFE, SECRET))
    yield "EXIF between scans", before(b"\xff\xda", PROGRESSIVE, segment(0xE1, b"Exif\0\0" + SECRET))
    yield "a profile", photo_jpeg(quality=5, icc_profile=profile())
    yield "after the data of the scan", before(b"\xff\xd9", JPEG, SECRET)
    yield "after the data of an interval", before(b"\xff\xd0", RESTARTS, SECRET)
    yield "an additional interval", before(b"\xff\xd9", RESTARTS, b"\xff" + bytes([last_restart(RESTARTS)]) + SECRET)
    yield "between scans", before(b"\xff\xc4", PROGRESSIVE, SECRET)
    yield "after the data of the last of many scans", before(b"\xff\xd9", PROGRESSIVE, SECRET)
    yield "scans that others replace", before(b"\xff\xd9", OTHER, b"".join(scans(PROGRESSIVE)))
    yield "rows below the last", resized(JPEG, 640, 400)
    yield "blocks beyond the edge", resized(photo_jpeg(640, 16, quality=5), 640, 8)
    yield "lowest bits of blocks beyond the edge", in_last_bits(photo_jpeg(40, quality=5, progressive=True))
    yield "brightness of more than 16 bits", beyond_sixteen_bits(PROGRESSIVE)
    intervals = [segment(0xDD, SECRET[at : at + 2].ljust(2)) for at in range(0, len(SECRET), 2)]
    yield "intervals that others replace", before(b"\xff\xda", JPEG, b"".join([*intervals, segment(0xDD, bytes(2))]))
    yield "an interval that never ends", before(b"\xff\xda", JPEG, segment(0xDD, SECRET[:2]))
    yield "known steps that no component uses", before(b"\xff\xc0", JPEG, segment(0xDB, b"\3" + steps_of(JPEG)) * 8)
    yield "Huffman tables without a symbol", before(b"\xff\xda", JPEG, segment(0xC4, b"\x13" + bytes(16)) * 47)
    yield "steps that no component uses", after_start(JPEG, segment(0xDB, b"\3" + SECRET.ljust(64)))
    yield "steps that no coefficient uses", with_steps(JPEG)
    yield "a Huffman table that no scan uses", after_start(JPEG, segment(0xC4, b"\x13" + unused + SECRET))
    yield "a Huffman table that another replaces", after_start(JPEG, segment(0xC4, b"\x10" + unused + SECRET))
    yield "symbols that do not occur", with_symbols(JPEG)
    yield "conditions of arithmetic coding", after_start(JPEG, segment(0xCC, b"\0\x10") + segment(0xFE, SECRET))
    yield "a longer segment of Adobe", after_start(JPEG, segment(0xEE, b"Adobe\0\x64\0\0\0\0\1" + SECRET))
    yield "a second image", JPEG + photo_jpeg(quality=5, seed=2, comment=SECRET)
    block = exif(copyright="Shop").tobytes()
    yield "after the credits in EXIF", photo_jpeg(quality=5, exif=block + SECRET)


def in_last_bits(jpeg: bytes) -> bytes:
    """Return `jpeg`, 40 pixels wide, with the secret in the lowest bits of the blocks beyond the right edge."""
    mark = b"\xff\xda\0\x0c\3\1\0\2\0\3\0\0\0\x10"
    start = jpeg.index(mark) + len(mark)
    end = next(at for at in range(start, len(jpeg)) if jpeg[at] == 255 and jpeg[at + 1])
    bits = [f"{byte:08b}" for byte in jpeg[start:end].replace(b"\xff\0", b"\xff")]
    data, secret = list("".join(bits)), iter("".join(f"{byte:08b}" for byte in SECRET))
    for mcu, block in product(range(2, 90, 3), (1, 3)):
        data[6 * mcu + block] = next(secret)
    hiding = bytes(int("".join(data[at : at + 8]), 2) for at in range(0, len(data), 8))
    return jpeg[:start] + hiding.replace(b"\xff", b"\xff\0") + jpeg[end:]


def beyond_sixteen_bits(jpeg: bytes) -> bytes:
    """Return `jpeg` with the brightness of each block shifted by 13 bits instead of 1; decoders keep 16 bits."""
    first, refining = b"\xff\xda\0\x0c\3\1\0\2\x10\3\0\0\0", b"\xff\xda\0\x0c\3\1\0\2\0\3\0\0\0\x10"
    shorter = jpeg.replace(next(scan for scan in scans(jpeg) if refining in scan), b"")
    at = shorter.index(first[:5]) + len(first)
    return shorter[:at] + b"\x0d" + shorter[at + 1 :]


def last_restart(jpeg: bytes) -> int:
    """Return the restart marker that would come next."""
    last = max(jpeg.rfind(bytes((255, code))) for code in range(0xD0, 0xD8))
    return 0xD0 + (jpeg[last + 1] + 1) % 8


# -- PNG --------------------------------------------------------------------------------------------------------------

WIDTH, HEIGHT = 640, 480
START = b"\x89PNG\r\n\x1a\n"
LAST = (b"IEND", b"")


def texture(depth: int = 8, width: int = WIDTH) -> bytes:
    """Return unfiltered rows of a PNG, a few in random order; Pillow's choice of filters would make them larger."""
    rng = random.Random(5)
    packed = [rng.randbytes(-(-width * depth // 8)) for _ in range(16 if depth <= 8 else 4)]
    spare = -(-width * depth // 8) * 8 - width * depth
    packed = [row[:-1] + bytes([row[-1] >> spare << spare]) for row in packed]
    return b"".join(b"\0" + rng.choice(packed) for _ in range(HEIGHT))


def header(depth: int = 8, colour: int = 0, width: int = WIDTH) -> tuple[bytes, bytes]:
    return b"IHDR", width.to_bytes(4, "big") + HEIGHT.to_bytes(4, "big") + bytes((depth, colour, 0, 0, 0))


def chunk(kind: bytes, body: bytes) -> bytes:
    return len(body).to_bytes(4, "big") + kind + body + zlib.crc32(kind + body).to_bytes(4, "big")


def chunks(png: bytes) -> list[tuple[bytes, bytes]]:
    found, at = [], 8
    while at < len(png):
        size = int.from_bytes(png[at : at + 4], "big")
        found.append((png[at + 4 : at + 8], png[at + 8 : at + 8 + size]))
        at += 12 + size
    return found


def png_of(*parts: tuple[bytes, bytes]) -> bytes:
    return START + b"".join(chunk(*part) for part in parts)


def png(*before_rows: tuple[bytes, bytes], data: bytes = b"", depth: int = 8, colour: int = 0) -> bytes:
    """Return a PNG of a texture, or of the compressed `data`, with further chunks before it."""
    return png_of(header(depth, colour), *before_rows, (b"IDAT", data or zlib.compress(texture(depth), 9)), LAST)


def colours(count: int) -> bytes:
    return bytes(value for index in range(count) for value in (index, 255 - index, index // 2))


def spare_bits() -> bytes:
    """Return a PNG whose rows end with one pixel of one bit, followed by seven bits of the secret in the first rows."""
    bits = "".join(f"{byte:08b}" for byte in SECRET)
    pieces = [int(bits[at : at + 7].ljust(7, "0"), 2) for at in range(0, len(bits), 7)]
    data, row = bytearray(texture(1, 641)), 1 + 81
    for number, piece in enumerate(pieces, 1):
        data[number * row - 1] |= piece
    return png_of(header(1, width=641), (b"IDAT", zlib.compress(data, 9)), LAST)


def moving(*, hidden: bytes = b"", still: bytes = b"") -> bytes:
    """Return an APNG of two frames, after a `still` if there is one."""
    control = WIDTH.to_bytes(4, "big") + HEIGHT.to_bytes(4, "big") + bytes(8) + b"\0\1\0\x0a\0\0"
    parts: list[tuple[bytes, bytes]] = [(b"IDAT", still)] if still else []
    flipped = texture()[::-1]
    numbers = count()
    for frame in (texture(), b"".join(b"\0" + flipped[at : at + WIDTH] for at in range(0, len(flipped), 1 + WIDTH))):
        parts.append((b"fcTL", next(numbers).to_bytes(4, "big") + control))
        data = zlib.compress(frame, 9)
        parts.append((b"fdAT", next(numbers).to_bytes(4, "big") + data + hidden) if len(parts) > 1 else (b"IDAT", data))
    return png_of(header(), (b"acTL", (2).to_bytes(4, "big") + bytes(4)), *parts, LAST)


def steps_of_index(count: int) -> bytes:
    """Return rows of increasing palette indexes, as differences (filter 1): Pillow does not filter indexes."""
    rng, rows = random.Random(5), b""
    for _ in range(HEIGHT):
        first = rng.randrange(count)
        indexes = [(first + x) % count for x in range(WIDTH)]
        differences = [(one - other) % 256 for one, other in zip(indexes, [0, *indexes[:-1]], strict=True)]
        rows += b"\1" + bytes(differences)
    return zlib.compress(rows, 9)


def pngs() -> Iterator[tuple[str, bytes]]:
    data, hidden_row = texture(), b"\0" + SECRET.ljust(WIDTH)
    whole = zlib.compress(data, 9)
    yield "after the rows", png(data=zlib.compress(data + SECRET, 9))
    yield "rows below the last", png(data=zlib.compress(data + hidden_row * 2, 9))
    yield "after the compressed data", png(data=whole + SECRET)
    yield "in a second stream", png(data=whole + zlib.compress(SECRET))
    yield "a text", png((b"tEXt", b"Software\0" + SECRET))
    yield "a compressed text", png((b"zTXt", b"Comment\0\0" + zlib.compress(SECRET)))
    yield "a text in Unicode", png((b"iTXt", b"Title\0\0\0\0\0" + SECRET))
    yield "a private chunk", png((b"prVt", SECRET))
    yield "a suggested palette", png((b"sPLT", b"p\0\x08" + SECRET.ljust(48)))
    yield "primaries", png((b"cHRM", SECRET[:32]))
    yield "a profile", png((b"iCCP", b"p\0\0" + zlib.compress(profile())), data=zlib.compress(texture(24), 9), colour=2)
    yield "after the end of the file", png() + SECRET
    yield (
        "colours that no pixel has",
        png((b"PLTE", colours(240) + SECRET.ljust(48)), data=steps_of_index(240), colour=3),
    )
    yield (
        "transparency of no colour",
        png((b"PLTE", colours(240)), (b"tRNS", b"\0" * 240 + SECRET[:16]), data=steps_of_index(240), colour=3),
    )
    yield "bits after each row", spare_bits()
    yield "a still that is not a frame", moving(still=zlib.compress(hidden_row * HEIGHT, 9))
    yield "after the rows of a frame", moving(hidden=SECRET)


# -- GIF --------------------------------------------------------------------------------------------------------------

GIF = encoded(quarters(16, 16).quantize(4), "GIF")


def moving_gif(*, hidden: bytes = b"", spare: bytes = bytes(48), left: int = 0) -> bytes:
    """Return two frames, smaller than Pillow writes them: the table of codes is never cleared."""
    rng = random.Random(5)
    texture = [rng.randbytes(128).translate(bytes(value % 16 for value in range(256))) for _ in range(16)]
    gif = b"GIF89a\x80\0\x80\0\xf4\0\0" + colours(16) + spare
    gif += b"\x21\xff\x0bNETSCAPE2.0\3\1\0\0\0"
    for _ in range(2):
        codes = lzw(b"".join(rng.choice(texture) for _ in range(128)), 4)
        gif += b"\x21\xf9\4\0\x0a\0\0\0\x2c" + bytes([left]) + b"\0\0\0\x80\0\x80\0\0\4"
        gif += b"".join(sub_block(codes[at : at + 255]) for at in range(0, len(codes), 255)) + hidden + b"\0"
    return gif + b";"


def lzw(pixels: bytes, start: int) -> bytes:
    """Return the LZW codes of a GIF, without a clear code when the table has 4,096 entries."""
    clear = 1 << start
    table = {bytes([value]): value for value in range(clear)}
    bits, length, size, text = clear, start + 1, start + 1, b""
    for value in (*pixels, None):
        longer = text if value is None else text + bytes([value])
        if value is not None and longer in table:
            text = longer
            continue
        bits |= table[text] << length
        length += size
        if len(table) + 2 < 4096:
            table[longer] = len(table) + 2
        text = b"" if value is None else bytes([value])
        size += len(table) + 1 == 1 << size and size < 12
    bits |= clear + 1 << length
    return bits.to_bytes(-(-(length + size) // 8), "little")


def sub_block(content: bytes) -> bytes:
    return bytes([len(content)]) + content


def gifs() -> Iterator[tuple[str, bytes]]:
    assert GIF[-2:] == b"\0;"
    extension, moving_one = sub_block(SECRET) + b"\0", moving_gif()
    plain = b"\x21\x01" + sub_block(bytes((0, 0, 0, 0, 1, 0, 1, 0, 1, 1, 0, 1))) + extension
    yield "after the end of the codes", GIF[:-2] + sub_block(SECRET) + GIF[-2:]
    yield "after the end of a frame's codes", moving_gif(hidden=sub_block(SECRET))
    yield "a frame beyond the canvas", moving_gif(left=100)
    yield "a comment", GIF[:-1] + b"\x21\xfe" + extension + b";"
    yield "a plain text extension", GIF[:-1] + plain + b";"
    yield "a program's data", GIF[:-1] + b"\x21\xff\x0bXMP DataXMP" + extension + b";"
    yield "a profile", GIF[:-1] + b"\x21\xff\x0bICCRGBG1012" + extension + b";"
    yield "after the end of the file", GIF + SECRET
    yield "longer repetitions", moving_one[:-1] + b"\x21\xff\x0bNETSCAPE2.0\3\1\0\0" + extension + b";"
    yield "colours that no pixel has", moving_gif(spare=SECRET.ljust(48))


# -- WebP -------------------------------------------------------------------------------------------------------------

WEBP = encoded(scene(), "WEBP", quality=1, method=6)
LOSSLESS = encoded(quarters(), "WEBP", lossless=True, method=6)
ALPHA = encoded(cut_out(), "WEBP", quality=1, alpha_quality=20, method=6)
MOVING_WEBP = animation("WEBP", quality=1, method=6)
CANVAS = bytes(3) + (639).to_bytes(3, "little") + (479).to_bytes(3, "little")
"""Rest of a VP8X chunk after its flags, for 640 × 480 pixels."""


def riff(data: bytes) -> list[tuple[bytes, bytes]]:
    found, at = [], 0
    while at < len(data):
        size = int.from_bytes(data[at + 4 : at + 8], "little")
        found.append((data[at : at + 4], data[at + 8 : at + 8 + size]))
        at += 8 + size + size % 2
    return found


def riff_chunks(parts: list[tuple[bytes, bytes]]) -> bytes:
    return b"".join(kind + len(body).to_bytes(4, "little") + body + bytes(len(body) % 2) for kind, body in parts)


def webp_of(parts: list[tuple[bytes, bytes]]) -> bytes:
    body = b"WEBP" + riff_chunks(parts)
    return b"RIFF" + len(body).to_bytes(4, "little") + body


def extended(webp: bytes, kind: bytes) -> bytes:
    """Return `webp` with SECRET after the content of its chunk `kind`."""
    return webp_of([(name, body + SECRET if name == kind else body) for name, body in riff(webp[12:])])


def with_modes(frame: bytes) -> bytes:
    """Return a VP8 frame with the secret after its first partition."""
    tag = int.from_bytes(frame[:3], "little")
    end = 10 + (tag >> 5)
    return (tag + (len(SECRET) << 5)).to_bytes(3, "little") + frame[3:end] + SECRET + frame[end:]


def with_frames(webp: bytes, kind: bytes, content: bytes) -> bytes:
    """Return an animation with a further chunk in each frame; without `kind`, with `content` after the frame's own."""
    parts = riff(webp[12:])
    for at, (name, body) in enumerate(parts):
        if name == b"ANMF":
            own = riff(body[16:])
            own = [*own, (kind, content)] if kind else [(own[0][0], own[0][1] + content)]
            parts[at] = name, body[:16] + riff_chunks(own)
    return webp_of(parts)


def drawn(colour: int, ground: int = 0) -> Image.Image:
    """Return an image in which the secret is drawn."""
    image = Image.new("L", (640, 480), ground)
    ImageDraw.Draw(image).text((10, 10), SECRET.decode(), fill=colour)
    return image


def in_alpha(frame: bytes) -> bytes:
    """Return a WebP of `frame` with lossless alpha, which is stored in green, and the secret drawn in red and blue."""
    shown = Image.new("L", (640, 480), 255)
    shown.paste(0, (0, 0, 99, 99))
    colours_too = encoded(Image.merge("RGB", (drawn(255), shown, drawn(255))), "WEBP", lossless=True, method=6)
    [(_, body)] = riff(colours_too[12:])
    return webp_of([(b"VP8X", b"\x10" + CANVAS), (b"ALPH", b"\1" + body[5:]), (b"VP8 ", frame)])


def with_silent_alpha() -> bytes:
    """Return a lossless WebP with the secret drawn in an alpha that its header does not announce."""
    image = Image.frombytes("1", (640, 40), random.Random(5).randbytes(640 * 5)).convert("RGB")
    image.putalpha(drawn(0, 255).crop((0, 0, *image.size)))
    body = dict(riff(encoded(image, "WEBP", lossless=True, exact=True, method=6)[12:]))[b"VP8L"]
    return webp_of([(b"VP8L", body[:4] + bytes([body[4] & ~0x10]) + body[5:])])


def webps() -> Iterator[tuple[str, bytes]]:
    [(kind, frame)] = riff(WEBP[12:])
    canvas = (b"VP8X", bytes(1) + CANVAS)
    [(_, place), *alpha] = riff(ALPHA[12:])
    yield "after the data", extended(WEBP, b"VP8 ")
    yield "after lossless data", extended(LOSSLESS, b"VP8L")
    yield "after the alpha", extended(ALPHA, b"ALPH")
    yield "colours of an alpha", in_alpha(frame)
    yield "an alpha that is not announced", with_silent_alpha()
    yield "an alpha that the canvas does not announce", webp_of([(b"VP8X", bytes(1) + place[1:]), *alpha])
    yield "after the first partition", webp_of([(kind, with_modes(frame))])
    yield "a private chunk", webp_of([canvas, (kind, frame), (b"PRIV", SECRET)])
    yield "XMP that no flag announces", webp_of([canvas, (kind, frame), (b"XMP ", SECRET)])
    yield "a chunk after the only one", webp_of([(kind, frame), (b"PRIV", SECRET)])
    yield "a profile", encoded(scene(), "WEBP", quality=1, method=6, icc_profile=profile())
    yield "after the end of the file", WEBP + SECRET
    yield "a chunk in a frame", with_frames(MOVING_WEBP, b"PRIV", SECRET)
    yield "after the data of a frame", with_frames(MOVING_WEBP, b"", SECRET)


# -- AVIF -------------------------------------------------------------------------------------------------------------

AVIF = encoded(scene(), "AVIF", quality=1, speed=4)


def box(kind: bytes, body: bytes) -> bytes:
    return (8 + len(body)).to_bytes(4, "big") + kind + body


def with_data(avif: bytes, data: bytes, *, unused: bytes = b"") -> bytes:
    """Return `avif` with `data` as its only item, and `unused` bytes that belong to no item."""
    at, place = avif.index(b"mdat") + 4, avif.index(b"iloc") + 22
    avif = avif[:place] + len(data).to_bytes(4, "big") + avif[place + 4 :]
    return avif[: at - 8] + box(b"mdat", data + unused)


def frame_of(item: bytes) -> tuple[bytes, bytes]:
    """Return the bytes before the frame and the content of the frame, without its size, which has several bytes."""
    start = item.index(b"\x32")
    return item[:start], item[next(at for at in range(start + 1, len(item)) if item[at] < 128) + 1 :]


def item_of(before_frame: bytes, frame: bytes) -> bytes:
    size = len(frame)
    return before_frame + b"\x32" + bytes((size & 127 | 128, size >> 7 & 127 | 128, size >> 14)) + frame


def within_tiles(avif: bytes, item: bytes) -> bytes:
    """Return `item` with the secret after the data of the first of two tiles; its size is found by trial and error."""
    before_frame, frame = frame_of(item)
    shown = decoded(avif).tobytes()
    for at, size_bytes in product(range(8, 60), (1, 2, 3)):
        size = int.from_bytes(frame[at : at + size_bytes], "little") + 1
        end = at + size_bytes + size
        longer = size + len(SECRET) - 1
        if end < len(frame) and longer < 256**size_bytes:
            number = longer.to_bytes(size_bytes, "little")
            hiding = frame[:at] + number + frame[at + size_bytes : end] + SECRET + frame[end:]
            with suppress(OSError, RuntimeError, ValueError):
                if decoded(with_data(avif, item_of(before_frame, hiding))).tobytes() == shown:
                    return item_of(before_frame, hiding)
    raise ValueError("no size was found")


def boxes(data: bytes) -> dict[bytes, bytes]:
    found, at = {}, 0
    while at < len(data):
        size = int.from_bytes(data[at : at + 4], "big")
        found[data[at + 4 : at + 8]] = data[at + 8 : at + size]
        at += size
    return found


def with_meta(avif: bytes, meta: bytes) -> bytes:
    """Return `avif` with another description of its items, and the offsets of their data moved accordingly."""
    parts, moved, at = boxes(avif), bytearray(meta), meta.index(b"iloc") + 12
    for place in range(at + 6, at + 14 * meta[at - 1], 14):
        start = int.from_bytes(moved[place : place + 4], "big") + len(meta) - len(parts[b"meta"])
        moved[place : place + 4] = start.to_bytes(4, "big")
    return b"".join(box(kind, bytes(moved) if kind == b"meta" else body) for kind, body in parts.items())


def with_properties(avif: bytes, *properties: bytes) -> bytes:
    """Return `avif` with further properties of its only item."""
    meta = boxes(avif)[b"meta"]
    whole = boxes(boxes(meta[4:])[b"iprp"])
    first, places = len(boxes(whole[b"ipco"])) + 1, whole[b"ipma"]
    places = places[:10] + bytes([places[10] + len(properties)]) + places[11:]
    places += bytes(range(first, first + len(properties)))
    described = box(b"ipco", whole[b"ipco"] + b"".join(properties)) + box(b"ipma", places)
    return with_meta(avif, meta.replace(box(b"iprp", boxes(meta[4:])[b"iprp"]), box(b"iprp", described)))


def with_colours_in_alpha() -> bytes:
    """Return an AVIF with alpha, in the unused colours of which the secret is drawn."""
    grey = Image.new("L", (640, 480), 128)
    tinted = Image.merge("YCbCr", (Image.new("L", grey.size, 200), drawn(40, 128), grey)).convert("RGB")
    image = scene().convert("RGBA")
    image.putalpha(grey)
    whole, other = encoded(image, "AVIF", quality=1, speed=4), encoded(tinted, "AVIF", quality=40, speed=4)
    parts, alpha = boxes(whole), boxes(other)[b"mdat"]
    meta = parts[b"meta"]
    at = meta.index(b"iloc") + 12
    own, start = (int.from_bytes(meta[at + n : at + n + 4], "big") for n in (10, 6))
    color, first = whole[start : start + own], len(whole) - len(parts[b"mdat"])
    places = (first + len(alpha), len(color)), (first, len(alpha))
    entries = b"".join(
        number.to_bytes(2, "big") + b"\0\0\0\1" + b"".join(value.to_bytes(4, "big") for value in place)
        for number, place in enumerate(places, 1)
    )
    kinds = [body[8:12] for body in (AVIF[AVIF.index(b"av1C") - 4 :], meta[meta.rindex(b"av1C") - 4 :])]
    meta = (meta[:at] + entries + meta[at + 28 :]).replace(b"av1C" + kinds[1], b"av1C" + kinds[0])
    return b"".join(box(*part) for part in ((b"ftyp", parts[b"ftyp"]), (b"meta", meta), (b"mdat", alpha + color)))


def avifs() -> Iterator[tuple[str, bytes]]:
    item = AVIF[AVIF.index(b"mdat") + 4 :]
    metadata = b"\x04\xb5\0" + SECRET + b"\x80"
    before_frame, frame = frame_of(item)
    yield "after the last tile", with_data(AVIF, item_of(before_frame, frame + SECRET))
    yield "after the first tile", with_data(AVIF, within_tiles(AVIF, item))
    yield "padding", with_data(AVIF, item + b"\x7a" + bytes([len(SECRET)]) + SECRET)
    yield "metadata in the stream", with_data(AVIF, item + b"\x2a" + bytes([len(metadata)]) + metadata)
    pieces = [box(b"pasp", SECRET[at : at + 8].ljust(8)) for at in range(0, len(SECRET), 8)]
    yield "proportions that others replace", with_properties(AVIF, *pieces)
    yield "proportions", with_properties(AVIF, pieces[0])
    yield "colours of the alpha", with_colours_in_alpha()
    yield "in its data, but in no item", with_data(AVIF, item, unused=SECRET)
    yield "a private box", AVIF + box(b"uuid", bytes(16) + SECRET)
    yield "free space", AVIF + box(b"free", SECRET)
    yield "a profile", encoded(scene(), "AVIF", quality=1, speed=4, icc_profile=profile())


def all_places() -> Mapping[str, bytes]:
    formats = {"JPEG": jpegs(), "PNG": pngs(), "GIF": gifs(), "WebP": webps(), "AVIF": avifs()}
    return {f"{name}, {place}": data for name, places in formats.items() for place, data in places}


def unpacked(kind: bytes, body: bytes) -> bytes:
    """Return the decompressed content of a PNG chunk, as far as possible; of several IDATs, only the first is."""
    start = {b"IDAT": 0, b"fdAT": 4, b"zTXt": body.find(b"\0") + 2, b"iCCP": body.find(b"\0") + 2}.get(kind)
    with suppress(zlib.error):
        return b"" if start is None else zlib.decompressobj().decompress(body[start:])
    return b""


def everything_in(data: bytes) -> bytes:
    """Return the bytes of an image, and what is compressed or split in them."""
    found = [data]
    if data.startswith(START):
        found += [unpacked(kind, body) for kind, body in chunks(data)]
    with Image.open(BytesIO(data)) as image:
        found += [value for value in image.info.values() if isinstance(value, bytes)]
    return b"\n".join(found)
