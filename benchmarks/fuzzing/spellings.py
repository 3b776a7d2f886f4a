"""Special IP addresses, in every spelling that some program accepts."""

from collections.abc import Callable
from ipaddress import IPv4Network, IPv6Address, IPv6Network
from random import Random

MAPPED = IPv6Network("::ffff:0:0/96")
TRANSLATED = IPv6Network("64:ff9b::/96")
SIX_TO_FOUR = IPv6Network("2002::/16")

IPV4 = [
    IPv4Network(network)
    for network in (
        "0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "127.0.0.1/32", "169.254.0.0/16",
        "169.254.169.254/32", "172.16.0.0/12", "192.0.0.0/24", "192.0.2.0/24", "192.88.99.0/24", "192.168.0.0/16",
        "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24", "224.0.0.0/4", "240.0.0.0/4", "255.255.255.255/32",
        "100.100.100.200/32", "168.63.129.16/32", "8.8.8.8/32", "1.1.1.1/32",
    )
]  # fmt: skip
IPV6 = [
    IPv6Network(network)
    for network in (
        "::/128", "::1/128", "::/96", "::ffff:0:0/96", "::ffff:0:0:0/96", "64:ff9b::/96", "64:ff9b:1::/48", "100::/64",
        "2001::/32", "2001::/23", "2001:db8::/32", "2002::/16", "3fff::/20", "5f00::/16", "fc00::/7",
        "fd00:ec2::254/128", "fe80::/10", "fec0::/10", "ff00::/8", "2000::/3", "2606:4700:4700::1111/128",
    )
]  # fmt: skip
NAMES = ("localhost", "metadata.google.internal", "a.example", "bücher.example", "xn--bcher-kva.example", "a_b.example")
ODD = "\0\t\n\r \x85\xa0\xad\u200b\u200d\u2028\u202e\ufeff\ud800%@[]\\/:?#.,;'\"`{}|^~-_*+=&$!ßıſ。．｡℀①Ⅷ²٠𝟏"
SCHEMES = (
    "HTTP://", "hTTps://", "//", "http:/", "http:", "http:///", "http:\\\\", "http://\\", "", "www.",
    "ftp://", "file://", "http+unix://", "javascript:", " http://", "http:// ", "\u200bhttp://", "http://http://",
)  # fmt: skip
USERS = (
    "a@",
    "a:b@",
    "@",
    ":@",
    "a.example@",
    "a.example%40",
    "a.example\\@",
    "a.example#@",
    "a.example?@",
)
PORTS = (":80", ":443", ":0", ":00080", ":65535", ":65536", ":", ":-1", ":+80", ":8_0", ":٨٠", ":80:80")
TAILS = (
    "",
    "/",
    "/x.jpg",
    "?x",
    "?@a.example",
    "#@a.example",
    "\\@a.example",
    "/../..",
    "//a.example",
    ";x",
    "/%2f%40",
)


def spelled_url(rng: Random) -> str:
    chance = rng.random()
    if chance < 0.45:
        host = spelled_ipv4(_ipv4(rng), rng)
    elif chance < 0.9:
        host = spelled_ipv6(_ipv6(rng), rng)
    else:
        host = rng.choice((*NAMES, rng.choice(("a.", "ü", "xn--a", "1.", "0x", "①")) * rng.choice((60, 300, 4_000))))
    if rng.random() < 0.4:
        host = rng.choice(DISGUISES)(host, rng)
    scheme, user = _rarely(SCHEMES, rng) or rng.choice(("http://", "https://")), _rarely(USERS, rng)
    url = scheme + user + host + _rarely(PORTS, rng) + rng.choice(TAILS)
    for _ in range(rng.choice((0, 0, 0, 0, 0, 0, 1, 2))):
        at = rng.randint(0, len(url))
        url = url[:at] + rng.choice((rng.choice(ODD), "", url[at : at + 3])) + url[at + rng.randrange(2) :]
    return url


def _rarely(choices: tuple[str, ...], rng: Random) -> str:
    return rng.choice(choices) if rng.random() < 0.1 else ""


def _ipv4(rng: Random) -> int:
    """Return an address inside, at an end of, or next to a special network; or any address."""
    network = rng.choice(IPV4)
    first, size = int(network.network_address), network.num_addresses
    choices = (first, first + size - 1, first - 1, first + size, first + rng.randrange(size), rng.getrandbits(32))
    return rng.choice(choices) % 2**32


def _ipv6(rng: Random) -> int:
    inner = _ipv4(rng)
    network = rng.choice(IPV6)
    first, size = int(network.network_address), network.num_addresses
    return rng.choice(
        (
            first + rng.randrange(size), first + rng.choice((0, size - 1, min(1, size - 1))),
            rng.choice((first - 1, first + size)) % 2**128, rng.getrandbits(125) | 1 << 125, inner,
            0xFFFF << 32 | inner, 0xFFFF << 48 | inner, 0x64FF9B << 96 | inner,
            0x64FF9B0001 << 80 | rng.getrandbits(48) << 32 | inner, 0x2002 << 112 | inner << 80 | rng.getrandbits(80),
            0x2001 << 112 | inner << 64 | rng.getrandbits(64),
            0x2001 << 112 | 0x8080808 << 64 | rng.getrandbits(32) << 32 | inner ^ 0xFFFFFFFF,
            0x2606 << 112 | rng.getrandbits(48) << 64 | rng.randrange(4) << 56 | 0x5EFE << 32 | inner,
        )
    )  # fmt: skip


def spelled_ipv4(number: int, rng: Random) -> str:
    """Spell an address for inet_aton(3): up to four parts, the last has the remaining bits; sometimes one too large."""
    count = rng.choice((1, 2, 3, 4, 4, 4, 5))
    leading = [number >> 24 - 8 * index & 0xFF for index in range(min(count, 4) - 1)]
    remaining = number & 2 ** (32 - 8 * len(leading)) - 1
    parts = [*leading, remaining, *([0] if count == 5 else [])]
    if rng.random() < 0.05:
        parts[rng.randrange(len(parts))] += rng.choice((256, 2**32, 2**64))
    plain = rng.random() < 0.4
    return ".".join(str(part) if plain else rng.choice(NUMERALS)(part) for part in parts)


NUMERALS: tuple[Callable[[int], str], ...] = (str, str, "0{:o}".format, "0x{:x}".format, "0X{:X}".format,
    "000{:o}".format, "0x00{:x}".format, "{:03}".format, "{:010}".format, "+{}".format, "0o{:o}".format)  # fmt: skip


def spelled_ipv6(number: int, rng: Random) -> str:
    address = IPv6Address(number)
    head = ":".join(f"{number >> shift & 0xFFFF:x}" for shift in range(112, 31, -16))
    dotted = ".".join(str(number >> shift & 0xFF) for shift in (24, 16, 8, 0))
    text = rng.choice((str(address), str(address), address.exploded, f"{head}:{dotted}", str(address).upper()))
    if number >> 32 in {0, 0xFFFF}:
        text = rng.choice((text, f"::{'ffff:' * (number >> 32 > 0)}{dotted}"))
    zone = rng.choice(("",) * 40 + ("%lo", "%1", "%25lo", "%251", "%", "%25", "%eth0.1"))
    return rng.choice(("[{}]",) * 50 + ("{}", "[[{}]]", "[{}", "[v1.{}]", "[{}].", "[{} ]")).format(text + zone)


def _with_other_digits(host: str, rng: Random) -> str:
    """Replace digits by others that nameprep (RFC 3491) maps to them."""
    zero = rng.choice("０٠۰०𝟎𝟘")
    return "".join(chr(ord(zero) + int(c)) if c in "0123456789" and rng.random() < 0.5 else c for c in host)


def _full_width(host: str, rng: Random) -> str:
    return "".join(chr(ord(c) + 0xFEE0) if "!" <= c <= "~" and rng.random() < 0.4 else c for c in host)


def _with_other_dots(host: str, rng: Random) -> str:
    return "".join(rng.choice("。．｡.") if c == "." else c for c in host)


def _percent_encoded(host: str, rng: Random) -> str:
    return "".join(f"%{ord(c):02X}" if ord(c) < 128 and rng.random() < 0.4 else c for c in host)


def _dotted(host: str, rng: Random) -> str:
    return rng.choice((host + ".", host + "..", "." + host, host + "。", host.replace(".", "..", 1), host + "%2e"))


def _with_invisible_character(host: str, rng: Random) -> str:
    at = rng.randint(0, len(host))
    return host[:at] + rng.choice("\xad\u200b\u200c\u200d\u2060\ufeff\ufe0f\u034f") + host[at:]


def _with_a_suffix(host: str, rng: Random) -> str:
    return host + rng.choice((".nip.io", ".in-addr.arpa", "%00.a.example", "\0", " a.example", "/", "a", "-", ".local"))


DISGUISES: tuple[Callable[[str, Random], str], ...] = (
    _with_other_digits, _full_width, _with_other_dots, _percent_encoded, _dotted, _with_invisible_character,
    _with_a_suffix, lambda host, _: f"[{host}]", lambda host, _: host.upper(),
)  # fmt: skip
