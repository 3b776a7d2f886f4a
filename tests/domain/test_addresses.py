"""IP addresses that may be called or not, one line for each rule with its source."""

from ipaddress import ip_address, ip_network

import pytest

from imgsvc.domain.addresses import is_allowed, is_metadata_name

REFUSED = [
    ("0.0.0.0", "this host, RFC 1122 §3.2.1.3"),
    ("0.1.2.3", "this network, RFC 791"),
    ("10.0.0.1", "private, RFC 1918"),
    ("10.255.255.255", "private, RFC 1918, last address"),
    ("100.64.0.1", "carrier-grade NAT, RFC 6598"),
    ("100.127.255.255", "carrier-grade NAT, RFC 6598, last address"),
    ("100.100.100.200", "metadata of Alibaba Cloud"),
    ("127.0.0.1", "loopback, RFC 1122 §3.2.1.3"),
    ("127.255.255.254", "loopback, RFC 1122 §3.2.1.3"),
    ("168.63.129.16", "metadata and DNS of Azure"),
    ("169.254.0.1", "link-local, RFC 3927"),
    ("169.254.169.254", "metadata of AWS, GCP, Azure, DigitalOcean"),
    ("169.254.170.2", "credentials of AWS ECS"),
    ("172.16.0.1", "private, RFC 1918"),
    ("172.31.255.255", "private, RFC 1918, last address"),
    ("192.0.0.8", "dummy address, RFC 7600"),
    ("192.0.0.192", "metadata of Oracle Cloud"),
    ("192.0.2.1", "documentation, RFC 5737"),
    ("169.254.170.23", "credentials of AWS EKS"),
    ("169.254.42.42", "metadata of Scaleway"),
    ("192.88.99.1", "6to4 relay, RFC 7526"),
    ("192.168.1.1", "private, RFC 1918"),
    ("198.18.0.1", "benchmarking, RFC 2544"),
    ("198.19.255.255", "benchmarking, RFC 2544, last address"),
    ("198.51.100.1", "documentation, RFC 5737"),
    ("203.0.113.1", "documentation, RFC 5737"),
    ("224.0.0.1", "multicast, RFC 1112"),
    ("239.255.255.255", "multicast, RFC 1112, last address"),
    ("240.0.0.1", "reserved, RFC 1112 §4"),
    ("255.255.255.255", "broadcast, RFC 919"),
    ("::", "unspecified, RFC 4291 §2.5.2"),
    ("::1", "loopback, RFC 4291 §2.5.3"),
    ("::127.0.0.1", "IPv4-compatible, RFC 4291 §2.5.5.1"),
    ("::8.8.8.8", "IPv4-compatible, deprecated by RFC 4291 §2.5.5.1"),
    ("::ffff:127.0.0.1", "IPv4-mapped, RFC 4291 §2.5.5.2"),
    ("::ffff:169.254.169.254", "IPv4-mapped metadata"),
    ("::ffff:0:127.0.0.1", "IPv4-translated, RFC 2765"),
    ("64:ff9b::127.0.0.1", "NAT64, RFC 6052 §2.1"),
    ("64:ff9b::10.0.0.1", "NAT64, RFC 6052 §2.1"),
    ("64:ff9b:1::127.0.0.1", "NAT64 of a site, RFC 8215"),
    ("64:ff9b:1::8.8.8.8", "NAT64 of a site is not global, RFC 8215"),
    ("100::1", "discard-only, RFC 6666"),
    ("2001::1", "Teredo, RFC 4380: it is inside 2001::/23"),
    ("2001:0:4136:e378:8000:63bf:80ff:fffe", "Teredo with client 127.0.0.1, RFC 4380 §4"),
    ("2001:2::1", "benchmarking, RFC 5180"),
    ("2001:10::1", "ORCHID, RFC 4843"),
    ("2001:db8::1", "documentation, RFC 3849"),
    ("2002:7f00:1::1", "6to4 of 127.0.0.1, RFC 3056"),
    ("2002:a9fe:a9fe::1", "6to4 of 169.254.169.254, RFC 3056"),
    ("2606:4700::5efe:127.0.0.1", "ISATAP, RFC 5214 §6.1"),
    ("2606:4700::200:5efe:192.168.1.1", "ISATAP with the u bit, RFC 5214 §6.1"),
    ("3fff::1", "documentation, RFC 9637"),
    ("4000::1", "reserved by IETF, RFC 4291"),
    ("5f00::1", "segment routing, RFC 9602"),
    ("fc00::1", "unique local, RFC 4193"),
    ("fd00:ec2::254", "metadata of AWS"),
    ("fd20:ce::254", "metadata of GCP"),
    ("fd00:42::42", "metadata of Scaleway"),
    ("64:ff9b::a9fe:a9fe", "NAT64 of the metadata, RFC 6052 §2.1"),
    ("2001:0:a9fe:a9fe::1", "Teredo with server 169.254.169.254, RFC 4380 §4"),
    ("ff0e::1", "multicast of global scope, RFC 4291 §2.7"),
    ("fe80::1", "link-local, RFC 4291 §2.5.6"),
    ("fe80::1%eth0", "link-local with a zone, RFC 4007"),
    ("fe80::5efe:8.8.8.8", "link-local ISATAP, RFC 5214"),
    ("fec0::1", "site-local, RFC 3879"),
    ("ff02::1", "multicast, RFC 4291 §2.7"),
]

ALLOWED = [
    ("1.1.1.1", "public"),
    ("8.8.8.8", "public"),
    ("9.255.255.255", "the last before 10/8"),
    ("11.0.0.0", "the first after 10/8"),
    ("100.63.255.255", "the last before carrier-grade NAT"),
    ("100.128.0.0", "the first after carrier-grade NAT"),
    ("168.63.129.17", "next to Azure's metadata"),
    ("172.15.255.255", "the last before 172.16/12"),
    ("172.32.0.0", "the first after 172.16/12"),
    ("192.0.1.1", "between 192.0.0/24 and 192.0.2/24"),
    ("223.255.255.255", "the last before multicast"),
    ("::ffff:8.8.8.8", "IPv4-mapped, RFC 4291 §2.5.5.2"),
    ("64:ff9b::8.8.8.8", "NAT64, RFC 6052 §2.1"),
    ("2002:808:808::1", "6to4 of 8.8.8.8, RFC 3056"),
    ("2001:200::1", "the first block allocated after 2001::/23"),
    ("2001:4860:4860::8888", "public"),
    ("2606:4700:4700::1111", "public"),
    ("2606:4700::5efe:8.8.8.8", "ISATAP of a public address, RFC 5214"),
]


@pytest.mark.parametrize(("address", "source"), REFUSED, ids=[address for address, _ in REFUSED])
def test_an_address_that_is_not_public_is_refused(address: str, source: str) -> None:
    assert not is_allowed(ip_address(address)), source


@pytest.mark.parametrize(("address", "source"), ALLOWED, ids=[address for address, _ in ALLOWED])
def test_a_public_address_is_allowed(address: str, source: str) -> None:
    assert is_allowed(ip_address(address)), source


@pytest.mark.parametrize(
    ("address", "network", "allowed"),
    [
        ("127.0.0.1", "127.0.0.0/8", True),
        ("10.1.2.3", "10.1.0.0/16", True),
        ("10.2.0.1", "10.1.0.0/16", False),  # outside the network
        ("::1", "::1/128", True),
        ("fd12::1", "fd12::/16", True),
        ("fe80::1%eth0", "fe80::/10", True),
        ("127.0.0.1", "::/0", False),  # a network of the other family covers nothing
        ("::1", "0.0.0.0/0", False),
        ("::ffff:127.0.0.1", "127.0.0.0/8", False),  # another address: a translator may lead elsewhere
        ("::ffff:0:127.0.0.1", "127.0.0.0/8", False),
        ("::127.0.0.1", "127.0.0.0/8", False),
        ("64:ff9b::127.0.0.1", "127.0.0.0/8", False),
        ("64:ff9b::10.0.0.1", "10.0.0.0/8", False),
        ("64:ff9b::10.0.0.1", "10.0.0.1/32", False),
        ("64:ff9b::10.0.0.1", "0.0.0.0/0", False),
        ("64:ff9b:1::10.0.0.1", "10.0.0.0/8", False),
        ("2002:7f00:1::1", "127.0.0.0/8", False),
        ("2002:a00:1::1", "10.0.0.0/8", False),
        ("2001:0:808:808::f5ff:fffe", "10.0.0.0/8", False),  # Teredo: the client is 10.0.0.1
        ("2606:4700::5efe:10.0.0.1", "10.0.0.0/8", False),  # ISATAP
        ("::ffff:10.0.0.1", "::ffff:10.0.0.0/104, 10.0.0.0/8", True),  # both networks are listed
        ("64:ff9b::10.0.0.1", "64:ff9b::/96, 10.0.0.0/8", True),
        ("64:ff9b::10.0.0.1", "64:ff9b::/96, 10.0.1.0/24", False),
        ("64:ff9b::10.0.0.1", "64:ff9b::8.0.0.0/104, 10.0.0.0/8", False),
        ("2002:a00:1::1", "2002::/16, 10.0.0.0/8", True),
        ("fd12::5efe:192.168.1.1", "fd12::/16, 192.168.0.0/16", True),
        ("64:ff9b::169.254.169.254", "64:ff9b::/96, 169.254.0.0/16", False),
        ("64:ff9b::8.8.8.8", "10.0.0.0/8", True),  # public, whatever is allowed
        ("::ffff:127.0.0.1", "::ffff:0:0/96", False),  # the embedded address is still refused
        ("::ffff:127.0.0.1", "::/0", False),
        ("64:ff9b::10.0.0.1", "64:ff9b::/96", False),
        ("64:ff9b:1::8.8.8.8", "64:ff9b:1::/48", True),
        ("64:ff9b:1::10.0.0.1", "64:ff9b:1::/48", False),
        ("fd12::5efe:192.168.1.1", "fd12::/16", False),
        ("2001:0:808:808::f7f7:f7f7", "2001::/32", True),  # Teredo: server and client are 8.8.8.8
        ("2001:0:7f00:1::f7f7:f7f7", "2001::/32", False),  # the server is 127.0.0.1
        ("2001:0:808:808::80ff:fffe", "2001::/32", False),  # the client is 127.0.0.1
        ("169.254.1.1", "169.254.0.0/16", True),
        ("169.254.169.254", "169.254.0.0/16", False),  # a network does not include metadata addresses
        ("169.254.169.254", "0.0.0.0/0", False),
        ("100.100.100.200", "100.64.0.0/10", False),
        ("fd00:ec2::254", "fd00::/8", False),
        ("::ffff:169.254.169.254", "169.254.0.0/16", False),
        ("fd00:ec2::254%eth0", "fd00::/8", False),
        ("169.254.169.254", "169.254.169.254/32", True),  # unless they are listed themselves
        ("fd00:ec2::254", "fd00:ec2::254/128", True),
    ],
)
def test_an_allowed_network_covers_its_own_addresses_and_no_embedded_ones(
    address: str, network: str, allowed: bool
) -> None:
    assert is_allowed(ip_address(address), [ip_network(each) for each in network.split(", ")]) is allowed


@pytest.mark.parametrize("host", ["metadata.google.internal", "METADATA.google.internal.", "instance-data", "metadata"])
def test_a_name_under_which_a_cloud_serves_credentials_is_recognized(host: str) -> None:
    assert is_metadata_name(host)
    assert not is_metadata_name(f"{host.rstrip('.')}.shop.example")
