"""The secret that signs links to reports: one for each key, unknown to receivers, with an expiry."""

import asyncio
import json
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from sqlmodel import col, update

from imgsvc.bootstrap import Resources
from imgsvc.db.queries import api_keys as queries
from imgsvc.db.queries.api_keys import LOCAL_KEY
from imgsvc.db.tables import ApiKey, Delivery
from imgsvc.domain.signed_urls import signed_query
from imgsvc.errors import Unauthorized
from imgsvc.services.access.api_keys import owner_by_link, rotate_webhook_secret, webhook_secret
from support.batches import ManualClock
from support.deliveries import pending_delivery

HOOK = "http://shop.example/hook"


def link_of(delivery: Delivery) -> str:
    """Return the query of the link to output.csv in a webhook's body."""
    return str(urlsplit(json.loads(delivery.body)["data"]["output_csv_url"]).query)


async def is_valid(resources: Resources, batch_id: str, query: str) -> bool:
    parameters = parse_qs(query)
    try:
        await owner_by_link(
            batch_id,
            "output.csv",
            expires=int(parameters["expires"][0]),
            signature=parameters["signature"][0],
            sessions=resources.sessions,
            clock=resources.clock,
        )
    except Unauthorized:
        return False
    return True


async def stored(resources: Resources) -> list[dict[str, Any]]:
    async with resources.sessions.read() as session:
        key = await queries.get(session, LOCAL_KEY)
    assert key is not None
    return key.webhook_secrets


async def remove_link_secrets(resources: Resources) -> None:
    """Restore the rows of a version without link secrets."""
    older = [{name: entry[name] for name in ("secret", "until")} for entry in await stored(resources)]
    async with resources.sessions.write() as session:
        await session.exec(update(ApiKey).where(col(ApiKey.id) == LOCAL_KEY).values(webhook_secrets=older))


async def rotate(resources: Resources, grace: timedelta) -> None:
    await rotate_webhook_secret(LOCAL_KEY, grace=grace, sessions=resources.sessions, clock=resources.clock)


async def test_a_receiver_of_webhooks_cannot_make_a_link(resources: Resources) -> None:
    delivery = await pending_delivery(resources, HOOK)
    secret = await webhook_secret(sessions=resources.sessions)
    until = datetime.fromtimestamp(int(parse_qs(link_of(delivery))["expires"][0]), resources.clock().tzinfo)
    forged = signed_query(f"/v1/batches/{delivery.batch_id}/output.csv", secret=secret, until=until)
    assert not await is_valid(resources, delivery.batch_id, forged)
    assert await is_valid(resources, delivery.batch_id, link_of(delivery))


async def test_an_older_key_gets_a_link_secret_with_its_first_link(resources: Resources) -> None:
    await remove_link_secrets(resources)
    first, second = await pending_delivery(resources, HOOK), await pending_delivery(resources, HOOK)
    [entry] = await stored(resources)
    assert len(entry["link_secret"]) == 64
    assert entry["secret"] == await webhook_secret(sessions=resources.sessions)
    for delivery in (first, second):
        assert await is_valid(resources, delivery.batch_id, link_of(delivery))


async def test_first_links_made_concurrently_for_an_older_key_all_work(resources: Resources) -> None:
    await remove_link_secrets(resources)
    deliveries = await asyncio.gather(*(pending_delivery(resources, HOOK) for _ in range(8)))
    assert [await is_valid(resources, delivery.batch_id, link_of(delivery)) for delivery in deliveries] == [True] * 8


@pytest.mark.parametrize("by_older_version", [False, True])
async def test_links_expire_with_the_rotated_secret(
    resources: Resources, clock: ManualClock, by_older_version: bool
) -> None:
    delivery = await pending_delivery(resources, HOOK)
    await rotate(resources, timedelta(hours=1))
    if by_older_version:  # rotated by an imgsvc without link secrets
        newest, former = await stored(resources)
        newest.pop("link_secret")
        async with resources.sessions.write() as session:
            values = {"webhook_secrets": [newest, former]}
            await session.exec(update(ApiKey).where(col(ApiKey.id) == LOCAL_KEY).values(**values))
    later = await pending_delivery(resources, HOOK)
    assert await is_valid(resources, delivery.batch_id, link_of(delivery))
    clock.forward(3_601)
    assert not await is_valid(resources, delivery.batch_id, link_of(delivery))
    assert await is_valid(resources, later.batch_id, link_of(later))
    await rotate(resources, timedelta())
    assert not await is_valid(resources, later.batch_id, link_of(later))


async def test_webhooks_do_not_contain_the_link_secret(resources: Resources) -> None:
    delivery = await pending_delivery(resources, HOOK)
    assert (await stored(resources))[0]["link_secret"] not in delivery.body
