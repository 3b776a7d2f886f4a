"""The IP addresses that may be called: public ones, and those in networks that the operator allows.

`ipaddress.is_global` is not enough: it calls 224.0.0.1, ::127.0.0.1, 2002:7f00:1:: and 64:ff9b::7f00:1 global, and its
answers differ between patch releases of Python. The tables follow the IANA special-purpose address registries
(RFC 6890), without the exceptions in them that no origin can have, such as anycast addresses of relays.
"""

import re
import socket
from collections.abc import Iterator, Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

REFUSED_IPV4 = tuple(
    IPv4Network(network)
    for network in (
        "0.0.0.0/8",  # "this network", RFC 791 §3.2
        "10.0.0.0/8",  # private, RFC 1918
        "100.64.0.0/10",  # carrier-grade NAT, RFC 6598; Alibaba's metadata 100.100.100.200
        "127.0.0.0/8",  # loopback, RFC 1122 §3.2.1.3
        "168.63.129.16/32",  # Azure's metadata and DNS, a public address that is reachable in every virtual machine
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

# All other IPv6 addresses are loopback, unique local (and AWS's metadata fd00:ec2::254), link-local, site-local,
# multicast, or reserved (RFC 4291 §2.4, RFC 4193, RFC 3879). An address in one of the last two networks is public if
# the IPv4 address embedded in it is.
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

# The IPv6 networks whose addresses embed an IPv4 address: its shift in bits, and whether it is inverted.
EMBEDDINGS = tuple(
    (IPv6Network(network), shift, inverted)
    for network, shift, inverted in (
        ("::ffff:0:0/96", 0, False),  # IPv4-mapped, RFC 4291 §2.5.5.2
        ("::ffff:0:0:0/96", 0, False),  # IPv4-translated, RFC 2765 §2.1
        ("64:ff9b::/96", 0, False),  # NAT64, RFC 6052 §2.1
        ("64:ff9b:1::/48", 0, False),  # NAT64 of a site, RFC 8215
        ("2002::/16", 80, False),  # 6to4, RFC 3056 §2
        ("2001::/32", 64, False),  # Teredo: the server, RFC 4380 §4
        ("2001::/32", 0, True),  # Teredo: the client, RFC 4380 §4
    )
)
COMPATIBLE = IPv6Network("::/96")  # IPv4-compatible, RFC 4291 §2.5.5.1

# These addresses give cloud credentials to any client, so allowing a larger network does not allow them.
METADATA = frozenset(
    ip_address(address)
    for address in (
        "169.254.169.254",  # AWS, Azure, Google, DigitalOcean, OpenStack, Hetzner, Vultr
        "169.254.169.253",  # AWS, DNS
        "169.254.170.2",  # AWS, credentials of ECS
        "169.254.170.23",  # AWS, credentials of EKS
        "169.254.42.42",  # Scaleway
        "169.254.0.23",  # Tencent
        "169.254.169.252",  # Google
        "168.63.129.16",  # Azure
        "100.100.100.200",  # Alibaba
        "192.0.0.192",  # Oracle
        "fd00:ec2::254",  # AWS
        "fd00:ec2::253",  # AWS, DNS
        "fd00:ec2::23",  # AWS, credentials of EKS
        "fd00:42::42",  # Scaleway
        "fd20:ce::254",  # Google
        "fd00:c1::a9fe:a9fe",  # Oracle
        "fd00:a9fe:a9fe::1",  # Linode
        "fe80::a9fe:a9fe",  # OpenStack
    )
)
METADATA_NAMES = frozenset(
    {
        "instance-data", "instance-data.ec2.internal",  # AWS
        "metadata", "metadata.google.internal", "metadata.goog",  # Google
        "metadata.azure.internal", "metadata.azure.com",
        "metadata.tencentyun.com",
        "metadata.platformequinix.com", "metadata.packet.net",
    }
)  # fmt: skip


def is_allowed(address: Address, allowed_networks: Sequence[Network] = ()) -> bool:
    """Return whether `address` may be called: it is public or in one of `allowed_networks`.

    An IPv6 address that embeds IPv4 addresses is refused if any of them is, even in an allowed network: a translator
    on the way may unpack it. An allowed IPv4 network covers only its own addresses, not the IPv6 addresses that embed
    them, which lead through a translator or relay; their IPv6 network must be listed as well. A metadata address of a
    cloud must be listed by itself: a larger network does not include it.
    """
    if isinstance(address, IPv6Address) and address.scope_id:
        address = IPv6Address(int(address))  # without its zone, which comparisons would include
    if address in METADATA:
        return ip_network(address) in allowed_networks
    is_listed = any(address in network for network in allowed_networks)
    networks = allowed_networks if is_listed else ()
    if isinstance(address, IPv6Address) and not all(is_allowed(inner, networks) for inner in _embedded(address)):
        return False
    return is_listed or _is_public(address)


def _is_public(address: Address) -> bool:
    if isinstance(address, IPv4Address):
        return not any(address in network for network in REFUSED_IPV4)
    return any(address in network for network in PUBLIC_IPV6) and not any(address in net for net in REFUSED_IPV6)


def _embedded(address: IPv6Address) -> Iterator[IPv4Address]:
    number = int(address)
    for network, shift, inverted in EMBEDDINGS:
        if address in network:
            bits = number >> shift & 0xFFFFFFFF
            yield IPv4Address(bits ^ 0xFFFFFFFF if inverted else bits)
    if address in COMPATIBLE and number > 1:  # :: and ::1 embed nothing
        yield IPv4Address(number)
    if number >> 32 & 0xFCFFFFFF == 0x5EFE:  # ISATAP under any prefix, both u/g bits free, RFC 5214 §6.1
        yield IPv4Address(number & 0xFFFFFFFF)


def is_allowed_via_proxy(host: str, allowed_networks: Sequence[Network]) -> bool:
    """Return whether a proxy may be asked for `host`. The proxy resolves it, so only the name itself can be checked."""
    address = parse_literal(host)
    if address is not None:
        return is_allowed(address, allowed_networks)
    name = host.rstrip(".").lower()
    last = name.rpartition(".")[2]
    # Some programs read a name as an address if its last label is a number; 0x100000001 wraps around.
    return last != "localhost" and not last.startswith("ip6-") and not re.fullmatch(r"0x[0-9a-f]*|[0-9]+", last)


def is_metadata_name(host: str) -> bool:
    """Return whether a cloud serves credentials under the name `host`, at any address."""
    return host.rstrip(".").lower() in METADATA_NAMES


def parse_literal(host: str) -> Address | None:
    """Parse `host` as an address in any notation that getaddrinfo accepts without a resolver; None if it is a name.

    `127.1`, `0x7f.1`, `0177.0.0.1` and `2130706433` all mean 127.0.0.1 (inet_aton(3)), and so do digits and dots of
    other scripts, which Python maps to ASCII before it resolves a name (RFC 3490 §4).
    """
    host = host.strip("[]").rstrip(".")
    try:
        return IPv6Address(host) if ":" in host else IPv4Address(socket.inet_aton(host.encode("idna").decode("ascii")))
    except (OSError, ValueError):
        return None
