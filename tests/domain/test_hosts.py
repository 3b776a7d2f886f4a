"""Hosts have one normal form, whatever way a URL spells them."""

import pytest

from imgsvc.domain.hosts import host_of


@pytest.mark.parametrize(
    "url",
    [
        "http://shop.example/a",
        "http://SHOP.example",
        "http://shop.example.:80/",
        "http://shop.example:80",
        "HTTP://shop.example",
    ],
)
def test_spellings_of_one_host_are_one_host(url: str) -> None:
    assert host_of(url) == "shop.example:80"


@pytest.mark.parametrize(
    ("url", "host"),
    [
        ("https://shop.example/", "shop.example:443"),
        ("http://shop.example:443/", "shop.example:443"),
        ("http://bücher.example/", "xn--bcher-kva.example:80"),
        ("http://127.1:8080/", "127.0.0.1:8080"),
        ("http://[::1]/", "::1:80"),
        ("http://shop.example:port/", "http://shop.example:port/"),
        ("http://shop.example:99999/a", "http://shop.example:99999/a"),
        ("http://shop.example:99999/b", "http://shop.example:99999/b"),
        (f"http://{'a' * 64}.example/", f"{'a' * 64}.example:80"),
    ],
)
def test_other_hosts_are_other_hosts(url: str, host: str) -> None:
    assert host_of(url) == host
