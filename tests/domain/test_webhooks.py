"""Webhooks: the body, the signature as receivers verify it, and the schedule."""

import json
from datetime import UTC, datetime, timedelta

import pytest
from standardwebhooks import Webhook, WebhookVerificationError

from imgsvc.domain.webhooks import (
    event_body,
    is_delivered,
    iso,
    next_attempt_at,
    signed_headers,
    valid_secrets,
)
from imgsvc.settings.server import WEBHOOK_SCHEDULE

OLD = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD"
NEW = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
NOW = datetime(2026, 11, 2, 9, 30, tzinfo=UTC)
DATA = {"id": "bat_1", "status": "completed", "metadata": {"shop": "Zoë's № 1"}}


def body() -> str:
    return event_body("batch.completed", at=NOW, data=DATA)


def test_the_body_names_the_event_its_time_and_its_data() -> None:
    assert json.loads(body()) == {"type": "batch.completed", "timestamp": "2026-11-02T09:30:00Z", "data": DATA}
    assert ": " not in body()


def test_a_time_is_written_in_utc_with_a_z() -> None:
    assert iso(NOW.replace(microsecond=1_500)) == "2026-11-02T09:30:00.001500Z"


# -- the signature ----------------------------------------------------------------------------------------------------


def headers(*secrets: str, at: datetime | None = None) -> dict[str, str]:
    return signed_headers("evt_1", body(), secrets=secrets, at=at or datetime.now(UTC))


def test_the_receivers_library_accepts_the_signature() -> None:
    assert Webhook(OLD).verify(body(), headers(OLD)) == json.loads(body())


def test_the_headers_are_those_of_standard_webhooks() -> None:
    sent = headers(OLD, at=NOW)
    assert (sent["webhook-id"], sent["webhook-timestamp"]) == ("evt_1", str(int(NOW.timestamp())))
    assert sent["webhook-signature"].startswith("v1,")
    assert sent["content-type"] == "application/json"


@pytest.mark.parametrize("changed", ["webhook-id", "body"])
def test_the_signature_covers_the_id_and_the_body(changed: str) -> None:
    sent_headers, sent_body = headers(OLD), body()
    if changed == "body":
        sent_body = sent_body.replace("bat_1", "bat_2")
    else:
        sent_headers[changed] = "evt_2"
    with pytest.raises(WebhookVerificationError):
        Webhook(OLD).verify(sent_body, sent_headers)


def test_an_old_message_is_refused_so_that_it_cannot_be_replayed() -> None:
    with pytest.raises(WebhookVerificationError, match="too old"):
        Webhook(OLD).verify(body(), headers(OLD, at=datetime.now(UTC) - timedelta(minutes=6)))


def test_another_secret_is_refused() -> None:
    with pytest.raises(WebhookVerificationError):
        Webhook(NEW).verify(body(), headers(OLD))


@pytest.mark.parametrize("receiver", [OLD, NEW])
def test_receivers_with_the_old_or_the_new_secret_accept_during_a_rotation(receiver: str) -> None:
    assert Webhook(receiver).verify(body(), headers(NEW, OLD))


def test_a_secret_signs_until_its_grace_time_has_passed() -> None:
    stored: list[dict[str, str | None]] = [
        {"secret": NEW, "until": None},
        {"secret": OLD, "until": iso(NOW + timedelta(seconds=1))},
        {"secret": "whsec_older", "until": iso(NOW)},
    ]
    assert valid_secrets(stored, NOW) == [NEW, OLD]


# -- the schedule -----------------------------------------------------------------------------------------------------


def wait(attempts: int, status: int | None = 500, retry_after: float | None = None) -> timedelta:
    due_at = next_attempt_at(NOW, attempts=attempts, schedule=WEBHOOK_SCHEDULE, status=status, retry_after=retry_after)
    assert due_at is not None
    return due_at - NOW


@pytest.mark.parametrize(
    ("attempts", "expected"),
    [(1, 5), (2, 300), (3, 1_800), (4, 7_200), (5, 18_000), (6, 36_000), (7, 50_400), (8, 72_000), (9, 86_400)],
)
@pytest.mark.parametrize("status", [None, 404, 500])
def test_the_next_attempt_follows_the_schedule_within_a_tenth(
    attempts: int, expected: float, status: int | None
) -> None:
    waits = [wait(attempts, status).total_seconds() for _ in range(50)]
    assert all(0.9 * expected <= seconds <= 1.1 * expected for seconds in waits)
    assert len(set(waits)) > 1


def test_the_tenth_attempt_is_the_last() -> None:
    assert len(WEBHOOK_SCHEDULE) == 10
    assert next_attempt_at(NOW, attempts=10, schedule=WEBHOOK_SCHEDULE, status=500) is None


def test_410_ends_the_schedule() -> None:
    assert next_attempt_at(NOW, attempts=1, schedule=WEBHOOK_SCHEDULE, status=410) is None


@pytest.mark.parametrize("status", [429, 503])
def test_retry_after_of_a_busy_endpoint_is_honoured(status: int) -> None:
    assert wait(1, status, retry_after=120) == timedelta(minutes=2)


@pytest.mark.parametrize("status", [200, 302, 404, 500, 504, None])
def test_retry_after_of_any_other_answer_is_ignored(status: int | None) -> None:
    assert wait(1, status, retry_after=120) <= timedelta(seconds=5.5)


def test_retry_after_is_capped_at_an_hour() -> None:
    assert wait(1, 503, retry_after=10**9) == timedelta(hours=1)


def test_retry_after_never_shortens_the_schedule() -> None:
    assert wait(5, 503, retry_after=1) >= timedelta(hours=4.5)


def test_only_2xx_delivers() -> None:
    assert [status for status in (199, 200, 204, 299, 300, 302, 410, 500) if is_delivered(status)] == [200, 204, 299]
