"""POST /v1/batches with an Idempotency-Key: safe to repeat any number of times, also concurrently."""

import asyncio
from typing import Any

import httpx
import pytest

from imgsvc.settings.server import Settings
from support.api_calls import CSV, NOTHING, ONE_ROW, DrainQueues, catalogue, problem, rows_stored, upload
from support.origin_server import OriginServer, WebhookListener, image_bytes
from support.served import served

ONE_OF_EACH = {"batch": 1, "product": 1, "asset": 1}


def named(key: str = "monday") -> dict[str, str]:
    return CSV | {"Idempotency-Key": key}


async def post(client: httpx.AsyncClient, text: str = ONE_ROW, *, key: str = "monday", **fields: Any) -> httpx.Response:
    return await client.post("/v1/batches", content=text, headers=named(key), params=fields)


def replayed(answer: httpx.Response) -> bool:
    assert answer.status_code == 202, answer.text
    assert answer.headers.get("idempotent-replayed") in (None, "true")
    return "idempotent-replayed" in answer.headers


async def test_a_repeat_returns_the_same_batch_and_is_marked(client: httpx.AsyncClient, settings: Settings) -> None:
    first, again = await post(client), await post(client)
    assert (replayed(first), replayed(again)) == (False, True)
    assert again.json() == first.json()
    assert again.headers["location"] == first.headers["location"]
    assert await rows_stored(settings) == ONE_OF_EACH


async def test_without_a_key_every_upload_is_a_batch_of_its_own(client: httpx.AsyncClient) -> None:
    assert (await upload(client, ONE_ROW))["id"] != (await upload(client, ONE_ROW))["id"]


async def test_a_form_and_a_bare_csv_of_the_same_content_are_the_same_upload(client: httpx.AsyncClient) -> None:
    key = {"Idempotency-Key": "monday"}
    file = {"file": ("shop.csv", ONE_ROW)}
    fields = {"quality": "40", "metadata": '{"b": "2", "a": "1"}'}
    form = await client.post("/v1/batches", files=file, data=fields | {"format": ""}, headers=key)
    bare = await post(client, quality=40, metadata='{"a":"1","b":"2"}', format="original")
    assert (replayed(form), replayed(bare)) == (False, True)
    assert bare.json()["id"] == form.json()["id"]


@pytest.mark.parametrize(
    ("text", "fields"), [(ONE_ROW + "\n", {}), (ONE_ROW, {"quality": 51}), (ONE_ROW, {"metadata": '{"order": "7"}'})]
)
async def test_another_upload_with_the_same_key_is_refused(
    client: httpx.AsyncClient, settings: Settings, text: str, fields: dict[str, Any]
) -> None:
    await post(client)
    body = problem(await post(client, text, **fields), 422, "idempotency-key-reused")
    assert "24 hours" in body["detail"]
    assert await rows_stored(settings) == ONE_OF_EACH


async def test_an_upload_that_is_refused_leaves_the_key_free(client: httpx.AsyncClient, settings: Settings) -> None:
    problem(await post(client, catalogue(("1", "Shoe", "htp://nowhere"))), 422, "invalid-manifest")
    problem(await post(client, quality=0), 422, "invalid-upload")
    assert await rows_stored(settings) == NOTHING
    assert not replayed(await post(client))


async def test_after_a_delete_the_same_upload_makes_a_new_batch(client: httpx.AsyncClient) -> None:
    first = (await post(client)).json()
    await client.post(f"/v1/batches/{first['id']}/cancel")
    assert replayed(await post(client))
    assert (await client.delete(f"/v1/batches/{first['id']}")).status_code == 204
    second = await post(client)
    assert not replayed(second)
    assert second.json()["id"] != first["id"]


async def test_a_repeat_returns_the_current_state_of_batch_and_webhook(
    client: httpx.AsyncClient, drain_queues: DrainQueues, origin: OriginServer, listener: WebhookListener
) -> None:
    text = catalogue(("1", "Shoe", origin.serve("/a.jpg", image_bytes())))
    first = (await post(client, text, webhook_url=listener.url("/hook"))).json()
    await drain_queues()
    again = await post(client, text, webhook_url=listener.url("/hook"))
    assert replayed(again)
    assert again.json() == (await client.get(f"/v1/batches/{first['id']}")).json()
    assert again.json()["webhook"]["status"] == "delivered"


async def test_a_key_may_be_255_visible_characters(client: httpx.AsyncClient) -> None:
    for key in ("k" * 255, "!~" * 5, "6f1c7a4e-0000-4000-8000-000000000000"):
        assert not replayed(await post(client, key=key))
        assert replayed(await post(client, key=key))


@pytest.mark.parametrize("key", [b"", b" ", b"k" * 256, b"two words", b"tab\there", "Schlüssel".encode(), b"\xff\xfe"])
async def test_an_invalid_key_is_refused(client: httpx.AsyncClient, settings: Settings, key: bytes) -> None:
    headers = [(b"Content-Type", b"text/csv"), (b"Idempotency-Key", key)]
    refused = await client.post("/v1/batches", content=ONE_ROW, headers=headers)
    [error] = problem(refused, 422, "invalid-request")["errors"]
    assert error["column"] == "idempotency-key"
    assert await rows_stored(settings) == NOTHING


async def test_50_repeats_at_the_same_time_make_one_batch(settings: Settings) -> None:
    async with served(settings) as client:
        answers = await asyncio.gather(*(post(client) for _ in range(50)))
    assert sorted(replayed(answer) for answer in answers) == [False] + [True] * 49
    assert len({answer.json()["id"] for answer in answers}) == 1
    assert len({answer.headers["location"] for answer in answers}) == 1
    assert await rows_stored(settings) == ONE_OF_EACH
