"""The API's listening socket. It is opened before any process starts, to report at once that a port is in use."""

import errno
import socket

from imgsvc.errors import StartupError

BACKLOG = 2048
"""Connections that can wait while the API process restarts."""


def listen(host: str, port: int) -> socket.socket:
    """Return a listening TCP socket; `::` means every address of the machine, including IPv4.

    Raises:
        StartupError: the port is in use, or the address does not belong to this machine.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    dual_stack = host == "::" and socket.has_dualstack_ipv6()
    try:
        return _with_keepalive(
            socket.create_server((host, port), family=family, backlog=BACKLOG, dualstack_ipv6=dual_stack)
        )
    except OSError as exc:
        if exc.errno == errno.EADDRINUSE:
            raise StartupError(
                f"Port {port} of {host} is in use by another program. "
                f"Choose another with --port {port + 1} or IMGSVC_PORT={port + 1}."
            ) from exc
        raise StartupError(f"Cannot listen on {host}, port {port}: {exc.strerror}.") from exc


def inherited(descriptor: int) -> socket.socket:
    """Return the listening socket that the parent process passed on.

    Raises:
        StartupError: the descriptor is not a socket.
    """
    try:
        return _with_keepalive(socket.socket(fileno=descriptor))
    except OSError as exc:
        raise StartupError(f"Descriptor {descriptor} is not a socket to listen on.") from exc


def _with_keepalive(listener: socket.socket) -> socket.socket:
    """Enable TCP keepalive: connections end when the client's machine vanishes (on Linux after two hours)."""
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    return listener
