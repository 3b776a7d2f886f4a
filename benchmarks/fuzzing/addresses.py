"""Fuzzes the address guard with URLs in every spelling, against an independent check that shares none of its tables."""

import socket
from collections.abc import Callable, Iterator
from contextlib import suppress
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from pathlib import Path
from random import Random
from urllib.parse import urlsplit

import httpx
import yarl

from fuzzing.mutations import Case
from fuzzing.spellings import MAPPED, SIX_TO_FOUR, TRANSLATED, spelled_url
from imgsvc.adapters.http.transport import parse_url
from imgsvc.domain.addresses import Address, is_allowed, parse_literal
from imgsvc.domain.manifest.urls import add_scheme, why_invalid
from imgsvc.errors import InvalidUrl

BASE = httpx.URL("https://origin.example/a/b?c")
SHARED = IPv4Network("100.64.0.0/10")
EVERYTHING = (IPv4Network("0.0.0.0/0"), IPv6Network("::/0"))
METADATA = frozenset(map(ip_address, ("169.254.169.254", "168.63.129.16", "100.100.100.200", "fd00:ec2::254")))
# As safe as the IPv4 address that they embed; `ipaddress` judges them differently from version to version.
TRANSPARENT = (MAPPED, TRANSLATED, SIX_TO_FOUR)


class Addresses:
    def __init__(self, corpora: Path) -> None:
        naughty = corpora / "payloads" / "naughty_strings.txt"
        self.words = naughty.read_text("utf-8").splitlines() if naughty.exists() else []

    def make(self, rng: Random) -> Case:
        """Return a URL; `plan` is True if it is the target of a redirect."""
        if self.words and rng.random() < 0.02:
            url = rng.choice(("", "https://", "//")) + rng.choice(self.words)
        else:
            url = spelled_url(rng)
        return Case(url.encode("utf-8", "surrogatepass"), rng.random() < 0.3)

    def attempt(self, case: Case) -> str:
        text = case.data.decode("utf-8", "surrogatepass")
        url = add_scheme(text)
        hosts = set() if why_invalid(url) else {urlsplit(url).hostname or ""}  # as in api/uploads/fields.py
        outcome = "" if hosts else "invalid_url"
        try:
            parsed = parse_url(text if case.plan else url, base=BASE if case.plan else None)
        except InvalidUrl:
            outcome = outcome or "invalid_url, but only to parse_url"
        else:
            outcome = ""  # `why_invalid` is not applied to redirects
            hosts |= {_as_checked(parsed), *_as_connected(parsed)}
            _check_before_a_proxy(parsed)
        allowed = [_checked(address) for host in hosts for address in understood(host)]
        if allowed and not all(allowed):
            return "blocked_address"
        return outcome or ("accepted: an address" if allowed else "accepted: a name")


def _as_checked(url: httpx.URL) -> str:
    """Return the host that adapters/http/fetcher.py checks."""
    return url.raw_host.decode("ascii")


def _as_connected(url: httpx.URL) -> set[str]:
    """Return the host that aiohttp connects to."""
    with suppress(ValueError):
        return {yarl.URL(str(url), encoded=True).raw_host or ""}
    return set()


def _checked(address: Address) -> bool:
    allowed = is_allowed(address)
    if allowed and forbidden(address):
        raise AssertionError(f"{address} is allowed")
    if is_allowed(address, EVERYTHING) and METADATA & {_plain(address), *embedded(address)}:
        raise AssertionError(f"{address} is allowed by a network that is larger than itself")
    return allowed


def _check_before_a_proxy(url: httpx.URL) -> None:
    """Check that `literal` refuses every blocked address that the C library parses: a proxy gets the host unchanged."""
    checked = _as_checked(url)
    parsed = parse_literal(checked)
    for host in {checked, *_as_connected(url)}:
        for address in _parsed_by_c_library(host):
            if forbidden(address) and (parsed is None or is_allowed(parsed)):
                raise AssertionError(f"{host!r} is {address}, and literal({checked!r}) is {parsed}")


def understood(host: str) -> set[Address]:
    address = parse_literal(host)
    return _parsed_by_c_library(host) | ({address} if address is not None else set())


def _parsed_by_c_library(host: str) -> set[Address]:
    """Return the addresses that `host` means to the C library, without a look-up (AI_NUMERICHOST)."""
    try:
        found = socket.getaddrinfo(host, 80, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST)
    except (OSError, UnicodeError, ValueError):
        return set()
    return {ip_address(entry[4][0]) for entry in found}


def forbidden(address: Address) -> bool:
    """Check that the address, or one that it embeds, is not global."""
    is_checked_itself = isinstance(address, IPv4Address) or not any(address in network for network in TRANSPARENT)
    return any(map(_not_global, ([address] if is_checked_itself else []) + list(embedded(address))))


def _not_global(address: Address) -> bool:
    special = (
        address.is_private, address.is_loopback, address.is_link_local, address.is_multicast, address.is_reserved,
        address.is_unspecified, not address.is_global, isinstance(address, IPv4Address) and address in SHARED,
    )  # fmt: skip
    return any(special)


def _plain(address: Address) -> Address:
    """Return the address without its zone."""
    return address if isinstance(address, IPv4Address) else IPv6Address(int(address))


def embedded(address: Address) -> Iterator[IPv4Address]:
    """Yield the IPv4 addresses inside, by the definitions of the RFCs on the 32-bit words of the address."""
    if isinstance(address, IPv4Address):
        return
    words = [int(address) >> shift & 0xFFFFFFFF for shift in (96, 64, 32, 0)]
    for applies, value in EMBEDDINGS:
        if applies(words):
            yield IPv4Address(value(words))


Words = list[int]
EMBEDDINGS: tuple[tuple[Callable[[Words], bool], Callable[[Words], int]], ...] = (
    (lambda w: w[:3] == [0, 0, 0xFFFF], lambda w: w[3]),  # mapped, RFC 4291
    (lambda w: w[:3] == [0, 0, 0] and w[3] > 1, lambda w: w[3]),  # compatible, RFC 4291
    (lambda w: w[:3] == [0x64FF9B, 0, 0], lambda w: w[3]),  # NAT64, RFC 6052
    (lambda w: w[0] == 0x64FF9B and w[1] >> 16 == 1, lambda w: w[3]),  # NAT64 of a site, RFC 8215
    (lambda w: w[0] >> 16 == 0x2002, lambda w: (w[0] & 0xFFFF) << 16 | w[1] >> 16),  # 6to4, RFC 3056
    (lambda w: w[0] == 0x20010000, lambda w: w[1]),  # Teredo: the server, RFC 4380
    (lambda w: w[0] == 0x20010000, lambda w: w[3] ^ 0xFFFFFFFF),  # Teredo: the client
    (lambda w: w[2] in {0x5EFE, 0x1005EFE, 0x2005EFE, 0x3005EFE}, lambda w: w[3]),  # ISATAP, RFC 5214
)
