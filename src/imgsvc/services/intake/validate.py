"""Look at an upload without taking it in."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from urllib.parse import urlsplit

from imgsvc.domain.manifest.read_csv import Manifest

HOSTS = 20


@dataclass(frozen=True, slots=True)
class Validation:
    """What an upload has in it; `hosts` are the 20 with the most distinct URLs, of `hosts_total`."""

    manifest: Manifest
    hosts: list[tuple[str, int]]
    hosts_total: int


def examine(manifest: Manifest) -> Validation:
    """CPU-bound: a second for 250,000 URLs."""
    hosts = Counter(_hosts(manifest))
    return Validation(manifest, hosts.most_common(HOSTS), len(hosts))


def _hosts(manifest: Manifest) -> Iterator[str]:
    for position, url in enumerate(manifest.assets):
        if position not in manifest.invalid:
            yield urlsplit(url).hostname or ""
