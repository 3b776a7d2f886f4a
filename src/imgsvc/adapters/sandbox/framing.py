"""How a worker and its quarantine talk: each message is a JSON object and raw bytes, with both lengths in front."""

import asyncio
import json
import struct
from typing import Any, BinaryIO

_LENGTHS = struct.Struct(">II")


def frame(head: dict[str, Any], body_size: int = 0) -> bytes:
    """The beginning of a message; as many bytes of body follow."""
    words = json.dumps(head).encode()
    return _LENGTHS.pack(len(words), body_size) + words


def read_frame(stream: BinaryIO) -> tuple[dict[str, Any], bytes]:
    """Raises EOFError at the end of the stream, also in the middle of a message."""
    head_size, body_size = _LENGTHS.unpack(_exactly(stream, _LENGTHS.size))
    return json.loads(_exactly(stream, head_size)), _exactly(stream, body_size)


def _exactly(stream: BinaryIO, size: int) -> bytes:
    data = stream.read(size)
    if len(data) < size:
        raise EOFError
    return data


async def receive_frame(stream: asyncio.StreamReader, *, at_most: int) -> tuple[dict[str, Any], bytes]:
    """`read_frame` from a process that may be out of its mind.

    Raises:
        EOFError: it has ended.
        ValueError: what it says makes no sense, or has more than `at_most` bytes.
    """
    head_size, body_size = _LENGTHS.unpack(await stream.readexactly(_LENGTHS.size))
    if head_size + body_size > at_most:
        raise ValueError("too much")
    head = json.loads(await stream.readexactly(head_size))
    return head, await stream.readexactly(body_size)
