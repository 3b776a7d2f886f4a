"""Splitting a cell into URLs, and validating them."""

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from imgsvc.domain.manifest.urls import add_scheme, join_cell, split_cell, starts_with_url, why_invalid

A, B, C = "https://a.example/1.jpg", "https://b.example/2.jpg", "http://c.example/3"
CLOUDINARY = "https://res.cloudinary.com/demo/image/fetch/w_300,h_200,c_fill/https://upload.example/x.jpg"
PROXY = "https://cdn.example/fetch/https://other.example/a.jpg"


@pytest.mark.parametrize(
    "separator", [",", ", ", " ,", ";", "; ", "|", " | ", " ", "\n", "\r\n", "\t", ",\n", ",,", "\xa0"]
)
def test_a_separator_before_a_url_splits(separator: str) -> None:
    assert split_cell(separator.join([A, B, C])) == [A, B, C]


@pytest.mark.parametrize(
    "start", ["HTTPS://b/x", "Ftp://b/x", "//b/x", "www.b.example/x", "WWW.b.example", "s3+a-b.c://x"]
)
def test_any_scheme_two_slashes_and_www_begin_a_url(start: str) -> None:
    assert split_cell(f"{A},{start}") == [A, start]
    assert starts_with_url(f" {start}")


@pytest.mark.parametrize("url", [CLOUDINARY, PROXY, f"{A}?sizes=1,2,3;4|5", "https://a/x,y,.jpg"])
def test_a_url_with_commas_or_another_url_inside_stays_whole(url: str) -> None:
    assert split_cell(url) == [url]
    assert split_cell(f"{url},{url}") == [url, url]


def test_white_space_after_a_separator_always_splits() -> None:
    assert split_cell(f"{A}, b.jpg; c.jpg |\nd.jpg  e.jpg") == [A, "b.jpg", "c.jpg", "d.jpg", "e.jpg"]


def test_a_single_blank_inside_a_url_does_not_split_it() -> None:
    assert split_cell("https://a/my image.jpg") == ["https://a/my image.jpg"]


@pytest.mark.parametrize("cell", [f"{A},", f"{A}, , ;", f" {A} ", f",{A}", f"\ufeff{A}\u200b", f"{A}\n\n"])
def test_blank_pieces_are_dropped(cell: str) -> None:
    assert split_cell(cell) == [A]


@pytest.mark.parametrize("cell", ["", " ", ",", " , ;|\t", "\u200b", "[]"])
def test_a_blank_cell_has_no_urls(cell: str) -> None:
    assert split_cell(cell) == []


@pytest.mark.parametrize("bad", ["ftp://x/y.jpg", "https://", "//", "nonsense://a b", "https://user@x/"])
def test_an_invalid_piece_does_not_affect_its_neighbours(bad: str) -> None:
    pieces = split_cell(f"{A},{bad},{B}")
    assert pieces == [A, bad, B]
    assert [why_invalid(add_scheme(piece)) is None for piece in pieces] == [True, False, True]


@pytest.mark.parametrize(
    "cell",
    [
        f'["{A}","{B}"]',
        f'[ "{A}" , "{B}", ]',
        f"['{A}', '{B}']",
        f'["{A}", "", " {B}"]',
        f'["{A}","{B}"]'.replace("/", "\\/"),
    ],
)
def test_a_list_in_json_or_python_syntax_is_recognised(cell: str) -> None:
    assert split_cell(cell) == [A, B]


def test_an_ampersand_escaped_in_json_is_unescaped() -> None:
    assert split_cell(f'["{A}?x=1\\u0026y=2"]') == [f"{A}?x=1&y=2"]


@pytest.mark.parametrize("cell", [f'["{A}", 5]', f'["{A}"', f"[{A}]", '["\\u0000"]'])
def test_a_broken_list_is_refused_not_guessed(cell: str) -> None:
    assert any(why_invalid(add_scheme(piece)) for piece in split_cell(cell))


def test_a_url_without_a_scheme_is_completed_as_in_a_browser() -> None:
    assert add_scheme("//cdn.example/x") == "https://cdn.example/x"
    assert add_scheme("Www.shop.example/x") == "https://Www.shop.example/x"
    assert add_scheme(A) == A
    assert add_scheme("image.jpg") == "image.jpg"


VALID = f"""
{A} {B} {C} {CLOUDINARY} {PROXY} HTTP://A https://a https://a?x https://a#x https://a.b.c./x https://a:/x http://a:65535
https://1.2.3.4:8080/x https://[2001:db8::1]:8443/x https://under_score.example/x https://xn--mnchen-3ya.example/
https://münchen.example/größe.jpg https://例え.jp/画像.png https://a/x?q={{y}}^`<>| https://a/@x:y@z
""".split()

INVALID = {
    "begin with": [
        *("ftp://a/x", "a.jpg", "n/a", "http:/a/x", "httpss://a", "data:image/png;base64,AA", "-", ""),
        *("javascript://a", "file:///etc/passwd", "C:\\a.jpg", "https:a", "//a/x", "www.a.example"),
    ],
    "invisible": [
        *("https://a/b c", "https://a /", "https://a\n/x", "https://a/\x00", "https://a/\x07", "https://a/\x7f"),
        *("https://a/\u200bx", "https://a/\u202egpj", "https://a/\ud800"),
    ],
    "quotation mark": ['https://a/x"', "https://a\\b", "https://a/b\\c"],
    "user name": ["https://u:p@a/x", "https://u@a", "http://u:p@[::1]/"],
    "no host": ["https://", "https:///x", "https://?x", "http://:80/"],
    "not valid": [
        *(
            "https://a:99999",
            "https://a:65536",
            "https://a:123456/",
            "https://a:0",
            "https://a:x/",
            "https://a:-1",
            "https://[::1",
            "https://[a]/",
            "https://[v1.a]/",
        ),
        *("https://a..b/", "https://.a", "https://a%41/", "https://a]b/", "https://a,b/", "https://a℀b/"),
        *(f"https://{'a' * 64}.b", f"https://{'ä.' * 130}b"),
    ],
}


@pytest.mark.parametrize("url", VALID)
def test_a_url_that_can_be_fetched_is_valid(url: str) -> None:
    assert why_invalid(url) is None


@pytest.mark.parametrize(("reason", "url"), [(reason, url) for reason, urls in INVALID.items() for url in urls])
def test_a_url_that_cannot_be_fetched_has_a_reason(reason: str, url: str) -> None:
    assert reason in (why_invalid(url) or "")


def test_a_cell_of_a_million_separators_takes_no_longer_than_one_of_letters() -> None:
    assert split_cell("," * 1_000_000 + "x") == [
        "," * 1_000_000 + "x"
    ]  # with backtracking from every comma this would take hours


@given(st.text())
@settings(deadline=None)
def test_any_text_is_split_without_losing_a_letter(cell: str) -> None:
    dropped = r"[,;|\s\u200b\ufeff]"
    if not cell.startswith("["):
        assert re.sub(dropped, "", "".join(split_cell(cell))) == re.sub(dropped, "", cell)


URLS = st.from_regex(r"https?://[a-z]{1,5}\.example/[a-z0-9,;|?=&/:]{0,8}[a-z0-9]", fullmatch=True)


@given(st.lists(URLS, min_size=1), st.sampled_from([",", ", ", " ", ";", "|", "\r\n"]))
@settings(deadline=None)
def test_joined_urls_are_split_again(urls: list[str], separator: str) -> None:
    expected = [url for whole in urls for url in split_cell(whole)]
    assert split_cell(separator.join(urls)) == expected
    assert split_cell(join_cell(expected)) == expected


@pytest.mark.parametrize("written", ["{}", "0{}", "00{}"], ids=["plain", "a zero before", "zeros before"])
def test_every_port_is_checked_by_its_number(written: str) -> None:
    ports = (*range(11), *range(9_990, 10_011), *range(59_990, 60_011), *range(65_530, 65_541), 99_999, 100_000)
    accepted = [port for port in ports if why_invalid(f"https://a:{written.format(port)}/x") is None]
    assert accepted == [port for port in ports if 1 <= port <= 65_535]


@given(st.text(alphabet='htps:/.w@[]%,;| \t"\\aé中\u200b0123', max_size=40))
@settings(deadline=None, max_examples=300)
def test_any_text_can_be_checked_and_a_valid_url_has_no_blanks(text: str) -> None:
    for url in (text, "https://" + text):
        if why_invalid(url) is None:
            assert re.fullmatch(r"https?://[^\s@]+(?:[/?#]\S*)?", url)


@pytest.mark.parametrize("host", ["[fe80::1%25eth0]", "[fe80::1%eth0]", "[::1%ü]", "[v1.a]", "[::1", "[127.0.0.1]"])
def test_a_url_with_a_zone_or_an_unknown_kind_of_address_is_invalid(host: str) -> None:
    assert why_invalid(f"http://{host}/a.jpg")
