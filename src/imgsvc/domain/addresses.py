"""Which IP addresses may be called: public ones, and the networks that the operator opens.

`ipaddress.is_global` is not enough: it calls 224.0.0.1, ::127.0.0.1, 2002:7f00:1:: and 64:ff9b::7f00:1 global, and its
answers differ between patch releases of Python. The tables follow the IANA special-purpose address registries
(RFC 6890), leaving out the exceptions in them that no origin can have, such as anycast addresses of relays.
"""

import socket
from collections.abc import Iterator, Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

REFUSED_IPV4 = tuple(
    IPv4Network(network)
    for network in (
        "0.0.0.0/8",  # "this network", RFC 791 §3.2
        "10.0.0.0/8",  # private, RFC 1918
        "100.64.0.0/10",  # carrier-grade NAT, RFC 6598; Alibaba's metadata 100.100.100.200
        "127.0.0.0/8",  # loopback, RFC 1122 §3.2.1.3
        "168.63.129.16/32",  # Azure's metadata and DNS, a public address that answers inside every virtual machine
        "169.254.0.0/16",  # link-local, RFC 3927; the metadata of most clouds 169.254.169.254
        "172.16.0.0/12",  # private, RFC 1918
        "192.0.0.0/24",  # protocol assignments, RFC 6890; Oracle's metadata 192.0.0.192
        "192.0.2.0/24",  # documentation, RFC 5737
        "192.88.99.0/24",  # 6to4 relays, RFC 7526
        "192.168.0.0/16",  # private, RFC 1918
        "198.18.0.0/15",  # benchmarking, RFC 2544
        "198.51.100.0/24",  # documentation, RFC 5737
        "203.0.113.0/24",  # documentation, RFC 5737
        "224.0.0.0/4",  # multicast, RFC 1112
        "240.0.0.0/4",  # reserved, RFC 1112 §4; broadcast, RFC 919
    )
)

# What lies outside is loopback, unique local (and AWS's metadata fd00:ec2::254), link-local, site-local, multicast,
# or reserved (RFC 4291 §2.4, RFC 4193, RFC 3879). The last two are as good as the IPv4 address that they carry.
PUBLIC_IPV6 = tuple(
    IPv6Network(network)
    for network in (
        "2000::/3",  # global unicast, RFC 3587
        "::ffff:0:0/96",  # IPv4-mapped, RFC 4291 §2.5.5.2
        "64:ff9b::/96",  # NAT64, RFC 6052 §2.1
    )
)

REFUSED_IPV6 = tuple(
    IPv6Network(network)
    for network in (
        "2001::/23",  # protocol assignments, RFC 2928: Teredo, benchmarking, ORCHID
        "2001:db8::/32",  # documentation, RFC 3849
        "3fff::/20",  # documentation, RFC 9637
    )
)

# Where an IPv6 address of a network carries an IPv4 address: how far it is to the right, and whether it is inverted.
CARRIERS = tuple(
    (IPv6Network(network), shift, inverted)
    for network, shift, inverted in (
        ("::ffff:0:0/96", 0, False),  # IPv4-mapped, RFC 4291 §2.5.5.2
        ("64:ff9b::/96", 0, False),  # NAT64, RFC 6052 §2.1
        ("64:ff9b:1::/48", 0, False),  # NAT64 of a site, RFC 8215
        ("2002::/16", 80, False),  # 6to4, RFC 3056 §2
        ("2001::/32", 64, False),  # Teredo: the server, RFC 4380 §4
        ("2001::/32", 0, True),  # Teredo: the client, RFC 4380 §4
    )
)
COMPATIBLE = IPv6Network("::/96")  # IPv4-compatible, RFC 4291 §2.5.5.1


def is_allowed(address: Address, allowed_networks: Sequence[Network] = ()) -> bool:
    """Whether `address` may be called: it is public or in one of `allowed_networks`.

    An IPv6 address that carries IPv4 addresses is refused when any of those is, whichever network it lies in: a
    translator on the way may unpack it.
    """
    if isinstance(address, IPv6Address) and not all(is_allowed(inner, allowed_networks) for inner in _carried(address)):
        return False
    return _is_public(address) or any(address in network for network in allowed_networks)


def _is_public(address: Address) -> bool:
    if isinstance(address, IPv4Address):
        return not any(address in network for network in REFUSED_IPV4)
    return any(address in network for network in PUBLIC_IPV6) and not any(address in net for net in REFUSED_IPV6)


def _carried(address: IPv6Address) -> Iterator[IPv4Address]:
    number = int(address)
    for network, shift, inverted in CARRIERS:
        if address in network:
            bits = number >> shift & 0xFFFFFFFF
            yield IPv4Address(bits ^ 0xFFFFFFFF if inverted else bits)
    if address in COMPATIBLE and number > 1:  # :: and ::1 carry nothing
        yield IPv4Address(number)
    if number >> 32 & 0xFCFFFFFF == 0x5EFE:  # ISATAP under any prefix, both u/g bits free, RFC 5214 §6.1
        yield IPv4Address(number & 0xFFFFFFFF)


def literal(host: str) -> Address | None:
    """The address that `host` spells, in any notation that getaddrinfo takes for one without asking a resolver.

    `127.1`, `0x7f.1`, `0177.0.0.1` and `2130706433` all spell 127.0.0.1 (inet_aton(3)), and so do digits and dots of
    other scripts, which Python's look-up maps to plain ones first (RFC 3490 §4).
    """
    host = host.strip("[]").rstrip(".")
    try:
        return IPv6Address(host) if ":" in host else IPv4Address(socket.inet_aton(host.encode("idna").decode("ascii")))
    except (OSError, ValueError):
        return None
