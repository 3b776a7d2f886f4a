"""The demo's contact sheet, and sizes formatted for people."""

from html.parser import HTMLParser
from pathlib import Path

import pytest
from PIL import Image

from imgsvc.demo.sheet import Failure, Pair, write_sheet
from imgsvc.terminal.formatting import saved, size


class Page(HTMLParser):
    """A page's links, tags and text."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.sources: list[str] = []
        self.tags: set[str] = set()
        self.text = ""
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.sources += [value or "" for name, value in attrs if name in {"src", "href"}]

    def handle_data(self, data: str) -> None:
        self.text += data


def file(path: Path, count: int) -> Path:
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(bytes(count))
    return path


def test_a_pair_links_to_both_files_and_shows_the_saving(tmp_path: Path) -> None:
    pair = Pair("Mug", file(tmp_path / "before" / "mug.jpg", 2048), file(tmp_path / "after" / "0-mug.jpg", 512), False)
    write_sheet(tmp_path / "sheet.html", [pair], summary="1 of 1")
    page = Page(tmp_path / "sheet.html")
    assert page.sources == ["before/mug.jpg", "before/mug.jpg", "after/0-mug.jpg", "after/0-mug.jpg"]
    assert all(part in page.text for part in ("Mug", "2.0 kB", "512 B", "−75%", "1 of 1"))


def test_a_kept_original_shows_no_saving(tmp_path: Path) -> None:
    pair = Pair("Mug", file(tmp_path / "a.jpg", 9), file(tmp_path / "b.jpg", 9), True)
    write_sheet(tmp_path / "sheet.html", [pair], summary="")
    assert "kept unchanged" in Page(tmp_path / "sheet.html").text


def test_a_name_cannot_inject_html_into_the_page(tmp_path: Path) -> None:
    evil = "<script>alert(1)</script>"
    pair = Pair(evil, file(tmp_path / '"><img onerror=x>.jpg', 9), file(tmp_path / "b.jpg", 9), False)
    write_sheet(tmp_path / "sheet.html", [pair, Failure(evil, evil, evil, evil)], summary=evil)
    page = Page(tmp_path / "sheet.html")
    assert "script" not in page.tags
    assert page.text.count(evil) == 6  # the summary, the pair's name, and the four fields of the failure
    assert page.sources[0] == '"><img onerror=x>.jpg'


def test_an_image_that_browsers_do_not_show_gets_a_preview(tmp_path: Path) -> None:
    Image.new("CMYK", (1200, 900), (0, 200, 0, 0)).save(tmp_path / "before.tif")
    pair = Pair("Chair", tmp_path / "before.tif", file(tmp_path / "after.jpg", 9), False)
    write_sheet(tmp_path / "sheet.html", [pair], summary="")
    link, shown, *_ = Page(tmp_path / "sheet.html").sources
    assert link == "before.tif"
    assert shown.startswith("data:image/png;base64,")


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0 B"),
        (1023, "1023 B"),
        (1024, "1.0 kB"),
        (12_700_000, "12.1 MB"),
        (3 * 2**40, "3072.0 GB"),
        (-2048, "-2.0 kB"),
    ],
)
def test_a_size_is_formatted_in_the_unit_that_fits(count: int, text: str) -> None:
    assert size(count) == text


@pytest.mark.parametrize(
    ("before", "after", "text"), [(200, 50, "75%"), (100, 100, "0%"), (100, 120, "-20%"), (0, 0, "–")]
)
def test_the_saving_is_formatted_in_percent(before: int, after: int, text: str) -> None:
    assert saved(before, after) == text
