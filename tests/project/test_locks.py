"""The lock files: pip accepts them, whatever has been released since they were written.

Under `--require-hashes` pip wants each extra that a distribution requires pinned as well. A lock without it works for
its author, because the newest version is the pinned one, and is refused as soon as there is a newer one.
"""

import re
from collections.abc import Iterator
from importlib.metadata import requires

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from support.paths import ROOT

EXTRAS = {
    "requirements.lock": {"server", "embedded", "build"},
    "requirements-dev.lock": {"server", "embedded", "build", "dev"},
}
"""The extras of imgsvc that each lock is for."""


def locked(lock: str) -> dict[str, set[str]]:
    """Return the extras of each distribution in a lock for this platform, by canonical name."""
    lines = (ROOT / lock).read_text().splitlines()
    pins = [Requirement(line.removesuffix("\\").strip()) for line in lines if re.match(r"[A-Za-z0-9]", line)]
    return {canonicalize_name(pin.name): pin.extras for pin in pins if pin.marker is None or pin.marker.evaluate()}


def required_by(name: str, extras: set[str]) -> Iterator[Requirement]:
    """Yield the requirements of an installed distribution with `extras` on this platform."""
    for line in requires(name) or ():
        requirement = Requirement(line)
        if requirement.marker is None or any(requirement.marker.evaluate({"extra": extra}) for extra in ("", *extras)):
            yield requirement


def missing(pins: dict[str, set[str]]) -> list[str]:
    """Return each extra that a pinned distribution requires and that is not pinned."""
    return [
        f"{name} asks for {requirement}"
        for name, extras in pins.items()
        for requirement in required_by(name, extras)
        if not requirement.extras <= pins.get(canonicalize_name(requirement.name), set())
    ]


@pytest.mark.parametrize("lock", EXTRAS)
def test_every_extra_that_a_locked_distribution_requires_is_locked(lock: str) -> None:
    pins = locked(lock) | {"imgsvc": EXTRAS[lock]}
    assert len(pins) > 60
    assert missing(pins) == []


def test_an_extra_that_is_not_locked_is_found() -> None:
    pins = locked("requirements-dev.lock")
    assert pins["coverage"] == {"toml"}
    assert missing(pins | {"coverage": set()}) == ["pytest-cov asks for coverage[toml]>=7.10.6"]
