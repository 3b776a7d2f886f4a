"""The socket that the API listens on, made before anything is started: a port that is taken is known at once."""

import errno
import socket

from imgsvc.errors import StartupError

BACKLOG = 2048
"""Connections that wait while the API process is being started again."""


def listen(host: str, port: int) -> socket.socket:
    """A listening TCP socket; `::` means every address of the machine, IPv4 too.

    Raises:
        StartupError: the port is taken, or the address is none of this machine's.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    both = host == "::" and socket.has_dualstack_ipv6()
    try:
        return _noticing(socket.create_server((host, port), family=family, backlog=BACKLOG, dualstack_ipv6=both))
    except OSError as exc:
        if exc.errno == errno.EADDRINUSE:
            raise StartupError(
                f"Port {port} of {host} is taken by another program. "
                f"Choose another with --port {port + 1} or IMGSVC_PORT={port + 1}."
            ) from exc
        raise StartupError(f"Cannot listen on {host}, port {port}: {exc.strerror}.") from exc


def inherited(descriptor: int) -> socket.socket:
    """The listening socket that the parent process handed over.

    Raises:
        StartupError: there is none under that number.
    """
    try:
        return _noticing(socket.socket(fileno=descriptor))
    except OSError as exc:
        raise StartupError(f"There is no socket to listen on under descriptor {descriptor}.") from exc


def _noticing(listener: socket.socket) -> socket.socket:
    """With connections that end when the client's machine is gone without a word (on Linux after two hours)."""
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    return listener
