"""API keys: created, rotated and revoked, and how soon a running process notices."""

from datetime import timedelta

import pytest
from sqlalchemy import text
from standardwebhooks import Webhook

from imgsvc.bootstrap import Resources
from imgsvc.db.queries import api_keys as queries
from imgsvc.db.queries.api_keys import LOCAL_KEY
from imgsvc.domain.webhooks import valid_secrets
from imgsvc.errors import NotFound, Unauthorized
from imgsvc.services.access.api_key_cache import CACHE_TTL, ApiKeyCache
from imgsvc.services.access.api_keys import (
    create_key,
    list_keys,
    revoke_key,
    rotate_key,
    rotate_webhook_secret,
    webhook_secret,
)
from support.batches import RecordingQueue
from support.deliveries import deliver, pending_delivery
from support.origin_server import WebhookListener

DAY = timedelta(days=1)


class Timer:
    """A timer that the test advances."""

    seconds = 0.0

    def __call__(self) -> float:
        return self.seconds


def cache(resources: Resources, timer: Timer, *, needs_key: bool = False) -> ApiKeyCache:
    return ApiKeyCache(sessions=resources.sessions, clock=resources.clock, needs_key=needs_key, timer=timer)


async def make(resources: Resources, name: str = "shop") -> tuple[str, str]:
    return await create_key(name, sessions=resources.sessions, clock=resources.clock)


async def test_without_keys_every_caller_is_the_local_key(resources: Resources) -> None:
    assert await cache(resources, Timer()).caller(None) == LOCAL_KEY
    assert await cache(resources, Timer()).caller("isk_stale") == LOCAL_KEY


async def test_a_key_is_required_from_the_start_on_a_public_address(resources: Resources) -> None:
    with pytest.raises(Unauthorized, match="imgsvc keys create"):
        await cache(resources, Timer(), needs_key=True).caller(None)


async def test_every_caller_needs_a_key_once_one_exists(resources: Resources) -> None:
    timer = Timer()
    keys = cache(resources, timer)
    assert await keys.caller(None) == LOCAL_KEY
    key_id, token = await make(resources)
    timer.seconds += CACHE_TTL
    assert await keys.caller(token) == key_id
    for wrong in (None, "", token[:-1] + ("0" if token[-1] != "0" else "1"), "isk_none"):
        with pytest.raises(Unauthorized):
            await keys.caller(wrong)


async def test_only_the_hash_of_a_token_is_stored(resources: Resources) -> None:
    _, token = await make(resources)
    async with resources.sessions.read() as session:
        rows = (await (await session.connection()).execute(text("SELECT * FROM api_key"))).all()
    assert token.rpartition("_")[2] not in str(rows)


async def test_a_revoked_key_is_refused_within_a_second_and_keys_stay_required(
    resources: Resources,
) -> None:
    timer = Timer()
    keys = cache(resources, timer)
    key_id, token = await make(resources)
    assert await keys.caller(token) == key_id
    await revoke_key(key_id, sessions=resources.sessions, clock=resources.clock)
    timer.seconds += CACHE_TTL
    for presented in (token, None):
        with pytest.raises(Unauthorized):
            await keys.caller(presented)
    with pytest.raises(NotFound):
        await revoke_key(key_id, sessions=resources.sessions, clock=resources.clock)


@pytest.mark.parametrize(("grace", "works"), [(DAY, True), (timedelta(), False)])
async def test_a_rotated_token_works_until_its_grace_period_ends(
    resources: Resources, grace: timedelta, works: bool
) -> None:
    key_id, former = await make(resources)
    token = await rotate_key(key_id, grace=grace, sessions=resources.sessions, clock=resources.clock)
    keys = cache(resources, Timer())
    assert await keys.caller(token) == key_id
    if works:
        assert await keys.caller(former) == key_id
    else:
        with pytest.raises(Unauthorized):
            await keys.caller(former)


async def test_a_second_rotation_ends_the_first_token(resources: Resources) -> None:
    key_id, first = await make(resources)
    for _ in range(2):
        await rotate_key(key_id, grace=DAY, sessions=resources.sessions, clock=resources.clock)
    with pytest.raises(Unauthorized):
        await cache(resources, Timer()).caller(first)


async def test_keys_are_listed_in_their_order_without_the_local_one(resources: Resources) -> None:
    first, second = (await make(resources, "first"))[0], (await make(resources, "second"))[0]
    await revoke_key(first, sessions=resources.sessions, clock=resources.clock)
    listed = await list_keys(sessions=resources.sessions)
    assert {(line.id, line.name, line.revoked_at is not None) for line in listed} == {
        (first, "first", True),
        (second, "second", False),
    }


@pytest.mark.parametrize("key_id", [LOCAL_KEY, "key_none"])
async def test_a_key_without_a_token_cannot_be_rotated_or_revoked(resources: Resources, key_id: str) -> None:
    with pytest.raises(NotFound):
        await rotate_key(key_id, grace=DAY, sessions=resources.sessions, clock=resources.clock)
    with pytest.raises(NotFound):
        await revoke_key(key_id, sessions=resources.sessions, clock=resources.clock)


# -- webhook secrets --------------------------------------------------------------------------------------------------


async def test_each_key_signs_with_its_own_secret(resources: Resources) -> None:
    first, second = (await make(resources))[0], (await make(resources))[0]
    secrets = {await webhook_secret(sessions=resources.sessions, key_id=key) for key in (first, second, LOCAL_KEY)}
    assert len(secrets) == 3


async def test_both_secrets_sign_during_a_rotation(
    resources: Resources, queue: RecordingQueue, listener: WebhookListener
) -> None:
    delivery = await pending_delivery(resources, listener.url("/hook"))
    former = await webhook_secret(sessions=resources.sessions)
    newest = await rotate_webhook_secret(LOCAL_KEY, grace=DAY, sessions=resources.sessions, clock=resources.clock)
    await deliver(resources, delivery, queue=queue, secrets=())
    [post] = listener.requests
    for secret in (former, newest):
        assert Webhook(secret).verify(post.body, dict(post.headers))


async def test_the_next_rotation_removes_expired_secrets(resources: Resources) -> None:
    for grace in (timedelta(), DAY):
        await rotate_webhook_secret(LOCAL_KEY, grace=grace, sessions=resources.sessions, clock=resources.clock)
    async with resources.sessions.read() as session:
        owner = await queries.get(session, LOCAL_KEY)
    assert owner is not None
    assert len(owner.webhook_secrets) == 2, "the newest and the one before it"
    assert len(valid_secrets(owner.webhook_secrets, resources.clock())) == 2
