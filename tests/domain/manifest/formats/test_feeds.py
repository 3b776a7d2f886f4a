"""XML feeds, JSON Lines and packed files: how they are read, and what is refused."""

import gzip
import io
import zipfile
from collections.abc import Callable

import pytest

from imgsvc.domain.manifest.formats.report_shape import ReportShape
from imgsvc.domain.manifest.formats.write_feed import FeedWriter
from imgsvc.errors import Refusal
from support.workbooks import Convert, workbook, zipped

Refused = Callable[..., Refusal]
GOOGLE = 'xmlns:g="http://base.google.com/ns/1.0"'
RSS = f"""<?xml version="1.0" encoding="UTF-8"?>
<rss {GOOGLE} version="2.0"><channel><title>Shop &amp; Co</title><link>https://shop.example</link>
<item>
<g:id>1</g:id>
<title>A &lt;b&gt;mug&lt;/b&gt;</title>
<g:image_link>https://shop.example/1.jpg</g:image_link>
<g:additional_image_link>https://shop.example/2.jpg</g:additional_image_link>
<g:additional_image_link>https://shop.example/3.jpg</g:additional_image_link>
<g:shipping><g:country>US</g:country><g:price>1 &amp; 2</g:price></g:shipping>
</item>
<item>
<g:id>2</g:id>
<title>["not", "a list"]</title>
<g:image_link>https://shop.example/4.jpg</g:image_link>
</item>
</channel></rss>
"""
ATOM = f"""<?xml version="1.0" encoding="UTF-8"?>
<feed xmlns="http://www.w3.org/2005/Atom" {GOOGLE}><title>Shop</title>
<entry>
<g:id>1</g:id>
<title>Mug</title>
<link rel="alternate" href="https://shop.example/a?b=1&amp;c=2"></link>
<g:image_link>https://shop.example/1.jpg</g:image_link>
</entry>
</feed>
"""


def written_again(table: Convert, feed: str) -> str:
    read = table(feed.encode())
    header = read.rows[0]
    writer = FeedWriter(ReportShape(header, (), read.converted.file_format))
    rows = [[*row, *[""] * (len(header) - len(row))] for row in read.rows[1:]]
    return writer.begin() + writer.rows(rows) + writer.end()


@pytest.mark.parametrize("feed", [RSS, ATOM], ids=["rss", "atom"])
def test_a_feed_comes_back_as_it_was(table: Convert, feed: str) -> None:
    assert written_again(table, feed) == feed


def test_the_columns_of_a_feed_have_the_names_of_google(table: Convert) -> None:
    read = table(RSS.encode())
    assert read.rows[0] == ["id", "title", "image_link", "additional_image_link", "shipping"]
    assert read.rows[1][3] == '["https://shop.example/2.jpg", "https://shop.example/3.jpg"]'
    assert read.numbers == [1, 1, 2]
    both = table(ATOM.replace("<title>Mug", "<g:title>G</g:title><title>Mug").encode())
    assert both.rows[0][:3] == ["id", "g:title", "title"]


def test_new_urls_in_a_list_become_elements(table: Convert) -> None:
    read = table(RSS.encode())
    writer = FeedWriter(ReportShape(read.rows[0], (2, 3), read.converted.file_format))
    text = writer.rows(
        [["1", "Mug", "https://img.example/1.jpg", "https://img.example/2.jpg,https://img.example/3.jpg"]]
    )
    assert "<g:image_link>https://img.example/1.jpg</g:image_link>" in text
    assert text.count("<g:additional_image_link>") == 2


def test_text_of_other_formats_cannot_become_xml(table: Convert) -> None:
    read = table(b'{"id": "<g:id><script/></g:id>"}')
    text = FeedWriter(ReportShape(read.rows[0], (), read.converted.file_format)).rows(read.rows[1:])
    assert "<script" not in text


@pytest.mark.parametrize(
    ("feed", "code"),
    [
        ('<?xml version="1.0"?><!DOCTYPE rss [<!ENTITY a "b">]><rss>&a;</rss>', "unsafe_xml"),
        ('<?xml version="1.0"?><!DOCTYPE rss SYSTEM "file:///etc/passwd"><rss/>', "unsafe_xml"),
        (RSS.replace("</channel>", ""), "invalid_xml"),
        (RSS.replace("UTF-8", "no-such-encoding"), "invalid_xml"),
        ('<?xml version="1.0"?><products><product/></products>', "unknown_xml"),
        ('<?xml version="1.0"?><rss><channel/></rss>', "unknown_xml"),
        ("<!doctype html><html></html>", None),
    ],
)
def test_xml_that_is_no_feed_is_refused(table: Convert, refusal: Refused, feed: str, code: str | None) -> None:
    if code is None:  # the reader of text names it
        assert table(feed.encode()).text == feed.encode()
    else:
        assert refusal(feed.encode()).problems[0].code == code


def test_the_encoding_of_a_feed_is_that_of_its_declaration(table: Convert) -> None:
    feed = RSS.replace("UTF-8", "ISO-8859-1").replace("Shop &amp; Co", "Café")
    assert "Café" in table(feed.encode("latin-1")).converted.file_format.head
    assert table(RSS.replace("UTF-8", "UTF-16").encode("utf-16")).rows[1][0] == "1"


def test_deep_and_long_feeds_are_refused(refusal: Refused) -> None:
    deep = RSS.replace("<g:id>1</g:id>", "<a>" * 60 + "</a>" * 60)
    assert "nested" in refusal(deep.encode()).detail
    assert "outside of its items" in refusal(RSS.replace("</channel>", "x" * 200_000 + "</channel>").encode()).detail


def test_lines_that_are_not_objects_are_named(refusal: Refused) -> None:
    lines = ['{"id": 1}', "[1]", '{"id": NaN}', '{"id": 2', "", '{"a": ' + "[" * 100_000]
    refused = refusal("\n".join(lines).encode())
    assert [problem.row for problem in refused.problems] == [2, 3, 4, 6]
    assert {problem.code for problem in refused.problems} == {"invalid_json"}


def test_characters_that_cannot_be_stored_are_refused(refusal: Refused) -> None:
    assert refusal(b'{"id": "\\u0000"}').problems[0].code == "nul_byte"
    assert refusal(b'{"id": "\\ud800"}').problems[0].code == "undecodable"
    assert refusal(b'{"\\ud800": "1"}').problems[0].code == "undecodable"


def test_packed_files_are_unpacked(table: Convert) -> None:
    text = b"ID,Name\n1,Mug\n"
    members = gzip.compress(text[:8]) + gzip.compress(text[8:])
    assert table(members).text == text
    assert table(zipped(shop__csv=text, __MACOSX__x=b"", readme__md=b"x")).text == text
    assert table(zipped(shop__csv__gz=gzip.compress(text))).text == text
    assert table(gzip.compress(workbook([["A"], ["x"]]))).rows == [["A"], ["x"]]
    tabbed = table(gzip.compress(b"a\tb\n"), filename="feed.tsv.gz")
    assert tabbed.converted.file_format.format == "tsv"


def test_packed_files_that_are_too_large_damaged_or_ambiguous_are_refused(refusal: Refused) -> None:
    text = b"x" * 100_000
    assert "IMGSVC_MAX_UPLOAD_BYTES" in refusal(gzip.compress(text), max_bytes=10_000).detail
    assert "IMGSVC_MAX_UPLOAD_BYTES" in refusal(zipped(a__csv=text), max_bytes=10_000).detail
    assert refusal(gzip.compress(text)[:-8]).problems[0].code == "damaged_file"
    assert refusal(zipped(a__csv=text)[:-30]).problems[0].code == "damaged_file"
    [several] = refusal(zipped(a__csv=text, b__xlsx=text)).problems
    assert several.code == "several_tables"
    assert "`a.csv`, `b.xlsx`" in several.detail
    assert refusal(zipped()).problems[0].code == "no_table"
    assert refusal(gzip.compress(gzip.compress(gzip.compress(text)))).problems[0].code == "nested_archive"


def test_a_zip_with_a_password_or_too_many_files_is_refused(refusal: Refused) -> None:
    data = bytearray(zipped(a__csv=b"x"))
    for mark, offset in ((b"PK\3\4", 6), (b"PK\1\2", 8)):
        data[data.index(mark) + offset] |= 1
    assert refusal(bytes(data)).problems[0].code == "encrypted"
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for number in range(10_001):
            archive.writestr(f"{number}.csv", "")
    assert refusal(file.getvalue()).problems[0].code == "too_many_files"
