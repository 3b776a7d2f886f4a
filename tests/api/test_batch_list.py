"""The list of a key's batches, newest first."""

from typing import Any

import httpx
import pytest

from imgsvc.bootstrap import Resources
from imgsvc.services.access.api_keys import create_key
from support.api_calls import DrainQueues, catalogue, problem, upload

ENDED = catalogue(("1", "Shoe", "htp://nowhere"))
RUNNING = catalogue(("1", "Shoe", "https://shop.example/a.jpg"))


async def listed(client: httpx.AsyncClient, **query: Any) -> list[list[str]]:
    """Return the ids on each page, following `next`."""
    pages: list[list[str]] = []
    after: str | None = None
    while True:
        page = (await client.get("/v1/batches", params=query | ({"after": after} if after else {}))).json()
        pages.append([batch["id"] for batch in page["data"]])
        assert page["has_more"] == (page["next"] is not None)
        after = page["next"]
        if after is None:
            return pages


async def test_every_batch_is_listed_once_newest_first(client: httpx.AsyncClient) -> None:
    assert await listed(client) == [[]]
    ids = [(await upload(client, RUNNING))["id"] for _ in range(5)]
    assert await listed(client, limit=2) == [[ids[4], ids[3]], [ids[2], ids[1]], [ids[0]]]
    assert await listed(client) == [ids[::-1]]


async def test_a_batch_in_the_list_is_the_batch_itself(client: httpx.AsyncClient, drain_queues: DrainQueues) -> None:
    fields = {"on_invalid": "skip", "webhook_url": "http://127.0.0.1:9/hook", "metadata": '{"shop": "7"}'}
    batch = await upload(client, ENDED, **fields)
    [one] = (await client.get("/v1/batches")).json()["data"]
    assert one == (await client.get(f"/v1/batches/{batch['id']}")).json()
    assert one["webhook"]["status"] == "pending"


async def test_batches_can_be_listed_by_status(client: httpx.AsyncClient) -> None:
    running = (await upload(client, RUNNING))["id"]
    failed = (await upload(client, ENDED, on_invalid="skip"))["id"]
    assert await listed(client, status="failed") == [[failed]]
    assert await listed(client, status=["failed", "pending"]) == [[failed, running]]
    assert await listed(client, status="completed") == [[]]


async def test_a_deleted_batch_and_those_of_other_keys_are_not_listed(
    client: httpx.AsyncClient, resources: Resources
) -> None:
    tokens = [(await create_key(name, sessions=resources.sessions, clock=resources.clock))[1] for name in "ab"]
    client.headers["Authorization"] = f"Bearer {tokens[0]}"
    kept = (await upload(client, RUNNING))["id"]
    deleted = (await upload(client, ENDED, on_invalid="skip"))["id"]
    assert (await client.delete(f"/v1/batches/{deleted}")).status_code == 204
    assert await listed(client) == [[kept]]
    client.headers["Authorization"] = f"Bearer {tokens[1]}"
    assert await listed(client) == [[]]


@pytest.mark.parametrize("query", ["limit=0", "limit=101", "after=bat_1", "status=gone", "status="])
async def test_an_invalid_list_parameter_is_422(client: httpx.AsyncClient, query: str) -> None:
    [error] = problem(await client.get(f"/v1/batches?{query}"), 422, "invalid-request")["errors"]
    assert error["column"].partition(".")[0] == query.partition("=")[0]
