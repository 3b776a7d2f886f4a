"""API keys and signed links: their format and validity."""

from datetime import timedelta

import pytest

from imgsvc.domain.api_keys import KeyHashes, hash_token, key_id_of, new_token, token_matches
from imgsvc.domain.ids import new_id
from imgsvc.domain.signed_urls import is_valid_link, signed_query
from imgsvc.services.clock import utc_now

NOW = utc_now()
KEY = "key_01m81syxdvn0cchm7jgbq1vyb2"
TOKEN, OTHER = (f"isk_{KEY[4:]}_{digit * 64}" for digit in "ab")


def test_tokens_contain_their_key_id_and_are_unique() -> None:
    key_id = new_id("key", NOW)
    one, other = new_token(key_id), new_token(key_id)
    assert key_id_of(one) == key_id_of(other) == key_id
    assert one != other
    assert one.startswith("isk_")
    assert len(one) == len(TOKEN)


@pytest.mark.parametrize(
    "text", ["", "isk_", TOKEN[:-1], TOKEN + "0", TOKEN.upper(), f" {TOKEN}", f"{TOKEN}\n", "é" * 95]
)
def test_text_in_another_format_has_no_key_id(text: str) -> None:
    assert key_id_of(text) is None


def test_the_stored_hash_does_not_contain_the_secret() -> None:
    assert TOKEN.rpartition("_")[2] not in hash_token(TOKEN)
    assert len(hash_token(TOKEN)) == 64


def test_only_the_token_matches() -> None:
    assert token_matches(TOKEN, KeyHashes(hash_token(TOKEN)), NOW)
    assert not token_matches(OTHER, KeyHashes(hash_token(TOKEN)), NOW)
    assert not token_matches("", KeyHashes(hash_token(TOKEN)), NOW)


def test_a_former_token_matches_until_its_grace_period_ends() -> None:
    hashes = KeyHashes(hash_token(TOKEN), hash_token(OTHER), NOW)
    assert token_matches(OTHER, hashes, NOW - timedelta(seconds=1))
    assert not token_matches(OTHER, hashes, NOW)
    assert token_matches(TOKEN, hashes, NOW)


# -- signed links -----------------------------------------------------------------------------------------------------

PATH = "/v1/batches/bat_1/output.csv"
SECRET = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD"
NEWER = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"


def parse(query: str) -> tuple[int, str]:
    expires, signature = (pair.partition("=")[2] for pair in query.split("&"))
    return int(expires), signature


EXPIRES, SIGNATURE = parse(signed_query(PATH, secret=SECRET, until=NOW + timedelta(days=7)))


@pytest.mark.parametrize(
    ("path", "expires", "signature", "secrets", "days", "is_valid"),
    [
        pytest.param(PATH, EXPIRES, SIGNATURE, [SECRET], 0, True, id="as signed"),
        pytest.param(PATH, EXPIRES, SIGNATURE, [NEWER, SECRET], 6.9, True, id="after a rotation"),
        pytest.param(PATH, EXPIRES, SIGNATURE, [SECRET], 7.1, False, id="too late"),
        pytest.param(PATH, EXPIRES + 60, SIGNATURE, [SECRET], 0, False, id="prolonged"),
        pytest.param(PATH.replace("bat_1", "bat_2"), EXPIRES, SIGNATURE, [SECRET], 0, False, id="for another batch"),
        pytest.param(PATH, EXPIRES, SIGNATURE[:-1], [SECRET], 0, False, id="cut"),
        pytest.param(PATH, EXPIRES, "", [SECRET], 0, False, id="none"),
        pytest.param(PATH, EXPIRES, "é", [SECRET], 0, False, id="no ASCII"),
        pytest.param(PATH, EXPIRES, SIGNATURE, [NEWER], 0, False, id="with another secret"),
        pytest.param(PATH, EXPIRES, SIGNATURE, [], 0, False, id="with no secret"),
    ],
)
def test_a_link_is_valid_only_for_what_it_was_signed(
    path: str, expires: int, signature: str, secrets: list[str], days: float, is_valid: bool
) -> None:
    at = NOW + timedelta(days=days)
    assert is_valid_link(path, expires=expires, signature=signature, secrets=secrets, now=at) is is_valid
