"""docs/checks.md has the rules of shops and their sources as they are in the code."""

import re

from imgsvc.domain.remarks import PLACEHOLDER, SAME_IMAGE, SMALL_ORIGINAL
from imgsvc.domain.repeats import MIN_PLACEHOLDER_PRODUCTS
from imgsvc.domain.shop_rules import RULES, SHOPS
from imgsvc.services.results.checks import HEADER
from support.paths import DOCS

PAGE = (DOCS / "checks.md").read_text(encoding="utf-8")


def rows(header: str) -> list[list[str]]:
    """Return the cells of the table with this header."""
    [table] = re.findall(rf"^\| {re.escape(header)} \|.*\n\|[-|]+\|\n((?:\|.*\n)+)", PAGE, re.MULTILINE)
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in table.splitlines()]


def test_the_page_has_every_rule_and_no_other() -> None:
    assert rows("check | an image must have") == [[f"`{rule.check}`", rule.demand] for rule in RULES]
    assert f"`google_{SMALL_ORIGINAL}`" in PAGE


def test_the_page_says_when_each_source_was_read() -> None:
    assert rows("shop") == [
        [f"[{shop.title}]({shop.source})", f"{shop.read.day} {shop.read:%B %Y}", shop.note] for shop in SHOPS
    ]


def test_the_page_has_the_columns_and_the_other_checks() -> None:
    assert re.findall(r"`([^`]+)`", " ".join(row[0] for row in rows("column"))) == list(HEADER)
    assert [row[0] for row in rows("check | finds")] == [f"`{SAME_IMAGE}`", f"`{PLACEHOLDER}`"]
    assert MIN_PLACEHOLDER_PRODUCTS == 5
    assert "at least five products" in PAGE
