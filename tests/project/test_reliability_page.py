"""The pages with promises name tests that exist."""

import re

import pytest

from support.paths import ROOT


@pytest.mark.parametrize("name", ["reliability.md", "security.md"])
def test_every_test_that_a_page_names_exists(name: str) -> None:
    page = (ROOT / "docs" / name).read_text(encoding="utf-8")
    named = set(re.findall(r"`(test_\w+)`", page))
    text = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "tests").rglob("test_*.py"))
    assert len(named) > 30
    assert named - set(re.findall(r"def (test_\w+)", text)) == set()
