"""Every page is linked from docs/README.md, and every link and every file name in a page is valid."""

import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from sysconfig import get_path
from urllib.parse import unquote

import pytest

from support.paths import ROOT

PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
OF_TODAY = [page for page in PAGES if page.parent.name != "adding" and page.name != "CHANGELOG.md"]
"""Pages on additions name files that do not exist yet; the changelog names files that are gone."""
INDEX = ROOT / "docs" / "README.md"

FENCED = re.compile(r"^(```+).*?^\1$", re.MULTILINE | re.DOTALL)
CODE = re.compile(r"(`+)(?!`).*?\1", re.DOTALL)
FILE = re.compile(r"(?<!`)`([\w.-]+/[\w./-]+\.(?:py|md|json|svg|mjs|sh))`")
LINK = re.compile(r"\]\(([^()\s]+)\)")
HEADING = re.compile(r"^#{1,6} (.+?)$", re.MULTILINE)


def links(page: Path) -> list[str]:
    """Return the targets of its links to files of the project; code is left out."""
    text = CODE.sub("``", FENCED.sub("", page.read_text(encoding="utf-8")))
    return [link for link in LINK.findall(text) if "://" not in link and not link.startswith("mailto:")]


def anchors(page: Path) -> Iterator[str]:
    """Yield the anchors of its headings as GitHub makes them: a repeated one ends with -1."""
    seen: Counter[str] = Counter()
    for heading in HEADING.findall(FENCED.sub("", page.read_text(encoding="utf-8"))):
        words = re.sub(r"\[(.*?)\]\(.*?\)", r"\1", heading).replace("`", "").strip().lower()
        anchor = re.sub(r"[^\w\- ]", "", words).replace(" ", "-")
        yield f"{anchor}-{seen[anchor]}" if seen[anchor] else anchor
        seen[anchor] += 1


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_no_link_is_broken(page: Path) -> None:
    broken = []
    for link in links(page):
        path, _, anchor = unquote(link).partition("#")
        target = (page.parent / path).resolve() if path else page
        if not target.exists() or (anchor and anchor not in anchors(target)):
            broken.append(link)
    assert broken == []


@pytest.mark.parametrize("page", OF_TODAY, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_every_file_that_a_page_names_exists(page: Path) -> None:
    text = FENCED.sub("", page.read_text(encoding="utf-8"))
    packages = Path(get_path("purelib"))  # a page may name a file of a dependency
    folders = (ROOT, ROOT / "src" / "imgsvc", page.parent, packages)
    assert [name for name in FILE.findall(text) if not any((folder / name).exists() for folder in folders)] == []


def test_links_are_found_at_all() -> None:
    assert sum(len(links(page)) for page in PAGES) > 100


def test_every_page_is_linked_from_the_index() -> None:
    """A link to a folder counts for the pages in it."""
    linked = {(INDEX.parent / link.partition("#")[0]).resolve() for link in links(INDEX)}
    pages = {page for page in PAGES if page.is_relative_to(INDEX.parent) and page != INDEX}
    assert {page.name for page in pages if page not in linked and page.parent not in linked} == set()


def test_the_readme_is_short() -> None:
    assert len((ROOT / "README.md").read_text(encoding="utf-8").splitlines()) <= 200
