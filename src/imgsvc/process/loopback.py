"""Whether an address is this machine's own."""

from ipaddress import ip_address


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches `host`, an IP address or a name; of names only `localhost` does."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
