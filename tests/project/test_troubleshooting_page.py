"""docs/troubleshooting.md has every error code of an image, with the sentence of the code."""

import re
from collections.abc import Iterator

import pytest

from imgsvc.errors import RETRYABLE_STATUSES, AssetError, HttpStatusError
from support.paths import DOCS

PAGE = (DOCS / "troubleshooting.md").read_text(encoding="utf-8")
LINES = {
    code: (sentence, again)
    for code, sentence, again in re.findall(r"^\| `([a-z_0-9]+)` \| (.*?) \| (yes|no) \|", PAGE, re.MULTILINE)
}
STATUSES = [int(code.removeprefix("http_")) for code in LINES if code.startswith("http_")]


def kinds(root: type[AssetError] = AssetError) -> Iterator[type[AssetError]]:
    """Yield the errors that have a code of their own."""
    for kind in root.__subclasses__():
        if "code" in vars(kind):
            yield kind
        yield from kinds(kind)


def test_the_page_has_every_code_and_no_other() -> None:
    codes = {kind.code for kind in kinds()}
    assert len(codes) > 15
    assert {code for code in LINES if not code.startswith("http_")} == codes


@pytest.mark.parametrize("kind", list(kinds()))
def test_a_row_has_the_sentence_of_the_error(kind: type[AssetError]) -> None:
    assert LINES[kind.code] == (kind.sentence, "yes" if kind.retryable else "no")


@pytest.mark.parametrize("status", STATUSES)
def test_a_row_of_a_status_has_the_sentence_of_the_error(status: int) -> None:
    error = HttpStatusError(status)
    assert LINES[error.code] == (error.detail, "yes" if error.retryable else "no")


def test_only_the_named_statuses_below_500_are_retried() -> None:
    assert {status for status in RETRYABLE_STATUSES if status < 500} == {408, 425, 429}
    assert {401, 403, 404, 410, 429, 500} == set(STATUSES)
