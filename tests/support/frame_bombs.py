"""Small files with very many frames."""

import struct
import zlib

from support.images import animation


def gif_bomb(frames: int, *, canvas: tuple[int, int] = (1, 1), size: tuple[int, int] = (1, 1)) -> bytes:
    """Return a GIF of `frames` frames of `size`, of one colour, 23 bytes each; the canvas may be smaller."""
    header = b"GIF89a" + struct.pack("<2H3B", *canvas, 0x80, 0, 0) + b"\0\0\0\xff\xff\xff"
    pixel = b"," + struct.pack("<4HB", 0, 0, *size, 0) + b"\x02\x02\x44\x01\0"
    return header + (b"!\xf9\x04\0\x01\0\0\0" + pixel) * frames + b";"


def apng(*, announced: int, contained: int) -> bytes:
    """Return an APNG that announces one number of frames and contains another."""
    data = animation("PNG", count=2)
    at = data.index(b"acTL") - 4
    control = chunk(b"acTL", struct.pack(">2I", announced, 0))
    body = data[:at] + control + data[at + len(control) :]
    frame_at = body.rindex(b"fcTL") - 4
    frame, end = body[frame_at:-12], body[-12:]
    fctl, fdat = frame[8 : 8 + 26], frame[8 + 26 + 4 + 8 :]
    size = struct.unpack_from(">I", frame, 8 + 26 + 4)[0]
    more = b"".join(
        chunk(b"fcTL", struct.pack(">I", number) + fctl[4:])
        + chunk(b"fdAT", struct.pack(">I", number + 1) + fdat[4:size])
        for number in range(1, 2 * contained - 2, 2)
    )
    return body[:frame_at] + more + end


def chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def webp_bomb(frames: int) -> bytes:
    data = animation("WEBP", count=3)
    at = data.index(b"ANMF")
    size = 8 + int.from_bytes(data[at + 4 : at + 8], "little")
    body = data[8:at] + data[at : at + size + size % 2] * frames
    return b"RIFF" + struct.pack("<I", len(body)) + body


def avif_bomb(frames: int) -> bytes:
    """Return an AVIF whose samples are one byte each, all in one chunk."""
    data = bytearray(animation("AVIF", count=3))
    runs, sizes = data.index(b"stsc"), data.index(b"stsz")
    struct.pack_into(">I", data, runs + 16, frames)
    struct.pack_into(">2I", data, sizes + 8, 1, frames)
    return bytes(data) + bytes(frames)


def avif_bomb_with_two_tables(frames: int, table: bytes = b"") -> bytes:
    """Return `avif_bomb` with a second table of runs after the first, by default an empty one."""
    data = bytearray(avif_bomb(frames))
    box = struct.pack(">I4s2I", 16 + len(table), b"stsc", 0, len(table) // 12) + table
    for kind in (b"moov", b"trak", b"mdia", b"minf", b"stbl"):
        at = data.index(kind) - 4
        struct.pack_into(">I", data, at, int.from_bytes(data[at : at + 4]) + len(box))
    at = data.index(b"stsc") - 4
    at += int.from_bytes(data[at : at + 4])
    return bytes(data[:at] + box + data[at:])
