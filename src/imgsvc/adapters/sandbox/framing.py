"""Messages between a worker and its sandbox: two lengths, a JSON object, and raw bytes."""

import asyncio
import json
import struct
from typing import Any, BinaryIO

_LENGTHS = struct.Struct(">II")


def frame(head: dict[str, Any], body_size: int = 0) -> bytes:
    """Return the start of a message; its body of `body_size` bytes follows separately."""
    text = json.dumps(head).encode()
    return _LENGTHS.pack(len(text), body_size) + text


def read_frame(stream: BinaryIO) -> tuple[dict[str, Any], bytes]:
    """Read one message.

    Raises:
        EOFError: the stream has ended, even in the middle of a message.
    """
    head_size, body_size = _LENGTHS.unpack(_exactly(stream, _LENGTHS.size))
    return json.loads(_exactly(stream, head_size)), _exactly(stream, body_size)


def _exactly(stream: BinaryIO, size: int) -> bytes:
    data = stream.read(size)
    if len(data) < size:
        raise EOFError
    return data


async def receive_frame(stream: asyncio.StreamReader, *, at_most: int) -> tuple[dict[str, Any], bytes]:
    """Read one message from a process that may send anything.

    Raises:
        EOFError: the stream has ended.
        ValueError: the message is invalid, or has more than `at_most` bytes.
    """
    head_size, body_size = _LENGTHS.unpack(await stream.readexactly(_LENGTHS.size))
    if head_size + body_size > at_most:
        raise ValueError("the message is too large")
    head = json.loads(await stream.readexactly(head_size))
    return head, await stream.readexactly(body_size)
