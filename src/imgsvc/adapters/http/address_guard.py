"""The gate: every socket to the outside is made here, and only towards addresses that may be called."""

import asyncio
import errno
import socket
from collections.abc import Callable, Collection, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from contextvars import ContextVar
from functools import partial
from ipaddress import ip_address
from typing import Any

from aiohttp import AddrInfoType
from aiohttp.abc import AbstractResolver, ResolveResult

from imgsvc.domain.addresses import Network, is_allowed

MAX_ADDRESSES = 2
"""Of a name, in each family, that are tried."""

_refused_here: ContextVar[list[str]] = ContextVar("refused_here")


class RefusedAddress(OSError):
    """An address that may not be called. An OSError, because aiohttp maps no other error of a socket factory."""


@contextmanager
def refusals() -> Iterator[list[str]]:
    """Collect the addresses refused while the block runs.

    The error that aiohttp raises in the end may be that of another candidate address, and the candidates are tried in
    tasks of their own; those get a copy of the context, but share this list.
    """
    refused: list[str] = []
    token = _refused_here.set(refused)
    try:
        yield refused
    finally:
        _refused_here.reset(token)


class AddressGuard:
    """The `socket_factory` of an aiohttp connector.

    Literals, DNS answers, and every redirect hop come by with the very address that the kernel is given next: there is
    no second look-up that could answer differently (DNS rebinding).
    """

    def __init__(self, allowed_networks: Sequence[Network], own_ports: Collection[int] = ()) -> None:
        """`own_ports` are those of our own API, Redis and database: closed on this machine, whatever is opened."""
        self._allowed_networks = tuple(allowed_networks)
        self._own_ports = frozenset(own_ports)

    def __call__(self, addr_info: AddrInfoType) -> socket.socket:
        family, kind, protocol, _, address = addr_info
        host, port = str(address[0]), int(address[1])
        is_ours = port in self._own_ports and _is_this_machine(family, host)
        if is_ours or not is_allowed(ip_address(host), self._allowed_networks):
            _refused_here.get().append(host)
            raise RefusedAddress(errno.EACCES, f"{host} may not be called")
        return socket.socket(family, kind, protocol)


def _is_this_machine(family: int, host: str) -> bool:
    """Only an address of one's own can be bound."""
    with socket.socket(family, socket.SOCK_DGRAM) as probe:
        try:
            probe.bind((host, 0))
        except OSError as exc:
            return exc.errno not in {errno.EADDRNOTAVAIL, errno.EINVAL}
    return True


class ThreadedResolver(AbstractResolver):
    """`getaddrinfo` in threads of its own, each look-up bounded by `timeout` seconds, waiting for a thread included.

    A look-up cannot be stopped, and a name server that hangs holds its thread for longer than anybody waits: there are
    more of them than fetches, so that nobody waits for the names of others.
    """

    def __init__(
        self, *, timeout: float, threads: int = 1_024, lookup: Callable[..., list[Any]] = socket.getaddrinfo
    ) -> None:
        self._timeout = timeout
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix="dns")
        self._lookup = lookup

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        """Raises `socket.gaierror`, also when no answer came in time."""
        lookup = partial(self._lookup, host, port, family=family, type=socket.SOCK_STREAM, flags=socket.AI_ADDRCONFIG)
        try:
            async with asyncio.timeout(self._timeout):
                found = await asyncio.get_running_loop().run_in_executor(self._threads, lookup)
        except TimeoutError as exc:
            raise socket.gaierror(socket.EAI_AGAIN, "no answer in time") from exc
        except UnicodeError as exc:  # an empty label, or one over 63 characters
            raise socket.gaierror(socket.EAI_NONAME, "no valid name") from exc
        return [
            ResolveResult(hostname=host, host=address[0], port=address[1], family=kind, proto=protocol, flags=0)
            for kind, _, protocol, _, address in _few(found)
        ]

    async def close(self) -> None:
        """Wait for no look-up that still runs."""
        self._threads.shutdown(wait=False, cancel_futures=True)


def _few(found: list[Any]) -> list[Any]:
    """The first addresses of either family: a name with a thousand of them would be a thousand connections."""
    kinds = (socket.AF_INET6, socket.AF_INET)
    return [each for kind in kinds for each in [one for one in found if one[0] == kind][:MAX_ADDRESSES]]
