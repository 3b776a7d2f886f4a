"""Creates every outgoing socket, and only for addresses that may be called; resolves names."""

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
"""Addresses of a name that are tried, per family."""

_refused_addresses: ContextVar[list[str]] = ContextVar("refused_addresses")


class RefusedAddress(OSError):
    """An address that may not be called; an OSError, because aiohttp handles no other error of a socket factory."""


@contextmanager
def collect_refused_addresses() -> Iterator[list[str]]:
    """Yield a list that collects the addresses refused while the block runs.

    aiohttp tries the candidate addresses in separate tasks and may finally raise the error of another one. The tasks
    get a copy of the context, but share this list.
    """
    refused: list[str] = []
    token = _refused_addresses.set(refused)
    try:
        yield refused
    finally:
        _refused_addresses.reset(token)


class AddressGuard:
    """The `socket_factory` of an aiohttp connector.

    It gets the address that the kernel connects to next, for literal addresses, DNS answers and every redirect. No
    second look-up could return another address (DNS rebinding).
    """

    def __init__(self, allowed_networks: Sequence[Network], own_ports: Collection[int] = ()) -> None:
        """Refuse `own_ports` (our API, Redis, database) on this machine, even if its network is allowed."""
        self._allowed_networks = tuple(allowed_networks)
        self._own_ports = frozenset(own_ports)

    def __call__(self, addr_info: AddrInfoType) -> socket.socket:
        family, kind, protocol, _, address = addr_info
        host, port = str(address[0]), int(address[1])
        is_own_port = port in self._own_ports and _is_this_machine(family, host)
        if is_own_port or not is_allowed(ip_address(host), self._allowed_networks):
            _refused_addresses.get().append(host)
            raise RefusedAddress(errno.EACCES, f"{host} may not be called")
        return socket.socket(family, kind, protocol)


def _is_this_machine(family: int, host: str) -> bool:
    """Return whether `host` is an address of this machine: only those can be bound."""
    with socket.socket(family, socket.SOCK_DGRAM) as probe:
        try:
            probe.bind((host, 0))
        except OSError as exc:
            return exc.errno not in {errno.EADDRNOTAVAIL, errno.EINVAL}
    return True


class ThreadedResolver(AbstractResolver):
    """Runs `getaddrinfo` in its own threads; a look-up may take `timeout` seconds, including the wait for a thread.

    A look-up cannot be stopped, and a hanging name server occupies its thread long after the caller has given up.
    There are more threads than fetches, so such look-ups do not delay the others.
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
        """Return the first addresses of each family.

        Raises:
            socket.gaierror: the name does not exist, or no answer came in time.
        """
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
            for kind, _, protocol, _, address in _first_per_family(found)
        ]

    async def close(self) -> None:
        """Stop accepting look-ups, without waiting for those that still run."""
        self._threads.shutdown(wait=False, cancel_futures=True)


def _first_per_family(found: list[Any]) -> list[Any]:
    """Return the first addresses of each family: a name with 1,000 addresses would cause 1,000 connections."""
    families = (socket.AF_INET6, socket.AF_INET)
    return [entry for family in families for entry in [each for each in found if each[0] == family][:MAX_ADDRESSES]]
