"""POST …/cancel and …/retry, DELETE: their responses, and the state of the batch afterwards."""

from collections.abc import Awaitable, Callable
from typing import Any

import httpx
import pytest

from imgsvc.settings.server import Settings
from support.api_calls import CSV, ONE_ROW, DrainQueues, catalogue, problem, upload
from support.origin_server import OriginServer, image_bytes
from support.served import served

Call = Callable[[httpx.AsyncClient, str], Awaitable[httpx.Response]]
UNKNOWN_ID = "bat_01m81sz00wq6j8v5n2m3k4r7xt"


async def cancel(client: httpx.AsyncClient, batch_id: str) -> httpx.Response:
    return await client.post(f"/v1/batches/{batch_id}/cancel")


async def retry(client: httpx.AsyncClient, batch_id: str, **request: Any) -> httpx.Response:
    return await client.post(f"/v1/batches/{batch_id}/retry", **request)


async def delete(client: httpx.AsyncClient, batch_id: str) -> httpx.Response:
    return await client.delete(f"/v1/batches/{batch_id}")


async def batch_of(client: httpx.AsyncClient, batch_id: str) -> dict[str, Any]:
    body: dict[str, Any] = (await client.get(f"/v1/batches/{batch_id}")).json()
    return body


async def ended(client: httpx.AsyncClient, drain_queues: DrainQueues, *urls: str, **fields: Any) -> str:
    """Process a batch with these URLs, and return its id."""
    batch = await upload(client, catalogue(("1", "Shoe", ", ".join(urls))), **fields)
    await drain_queues()
    return str(batch["id"])


@pytest.mark.parametrize("verb", [cancel, retry, delete])
@pytest.mark.parametrize("batch_id", [UNKNOWN_ID, "bat_1", "%00", "evt_01m81sz00wq6j8v5n2m3k4r7xt"])
async def test_changing_an_unknown_batch_is_404(client: httpx.AsyncClient, verb: Call, batch_id: str) -> None:
    problem(await verb(client, batch_id), 404, "not-found")


# -- cancel -----------------------------------------------------------------------------------------------------------


async def test_cancel_returns_the_cancelled_batch(client: httpx.AsyncClient) -> None:
    batch = await upload(client, ONE_ROW, webhook_url="http://127.0.0.1:9/hook")
    answer = await cancel(client, batch["id"])
    assert answer.status_code == 202
    cancelled = answer.json()
    assert cancelled == await batch_of(client, batch["id"])
    assert (cancelled["status"], cancelled["progress"], cancelled["counts"]["assets"]["cancelled"]) == (
        "cancelled", 1, 1,
    )  # fmt: skip
    assert cancelled["webhook"]["status"] == "pending"
    assert cancelled["finished_at"] is not None


async def test_the_products_and_the_csv_of_a_cancelled_batch_show_unfinished_images(client: httpx.AsyncClient) -> None:
    batch = await upload(client, ONE_ROW)
    await cancel(client, batch["id"])
    [product] = (await client.get(f"/v1/batches/{batch['id']}/products")).json()["data"]
    [asset] = product["assets"]
    assert (asset["status"], asset["error"]["code"], product["output_urls"]) == ("cancelled", "cancelled", [None])
    report = await client.get(f"/v1/batches/{batch['id']}/output.csv")
    assert report.text.splitlines()[1] == "1,Shoe,https://shop.example/a.jpg,"


async def test_a_finished_batch_cannot_be_cancelled(client: httpx.AsyncClient) -> None:
    batch = await upload(client, ONE_ROW)
    await cancel(client, batch["id"])
    body = problem(await cancel(client, batch["id"]), 409, "batch-finished")
    assert "cancelled" in body["detail"]


# -- retry ------------------------------------------------------------------------------------------------------------


async def test_a_retry_starts_a_new_round_that_succeeds(
    client: httpx.AsyncClient, drain_queues: DrainQueues, origin: OriginServer
) -> None:
    good, late = origin.serve("/a.jpg", image_bytes()), origin.url("/late.jpg")
    batch_id = await ended(client, drain_queues, good, late)
    answer = await retry(client, batch_id)
    assert answer.status_code == 202
    retried = answer.json()
    assert (retried["status"], retried["finished_at"], retried["errors_by_code"]) == ("pending", None, {})
    assert retried["counts"]["assets"] == {
        "total": 2, "pending": 1, "processing": 0, "succeeded": 1, "failed": 0, "cancelled": 0,
    }  # fmt: skip
    problem(await client.get(f"/v1/batches/{batch_id}/output.csv"), 409, "batch-not-finished")
    origin.serve("/late.jpg", image_bytes(32, 24))
    await drain_queues()
    assert (await batch_of(client, batch_id))["status"] == "completed"


async def test_only_failures_with_the_given_codes_are_retried(
    client: httpx.AsyncClient, drain_queues: DrainQueues, origin: OriginServer
) -> None:
    batch_id = await ended(client, drain_queues, origin.url("/status/404"), origin.url("/status/403"))
    answer = await retry(client, batch_id, json={"codes": ["http_404"]})
    assert answer.json()["errors_by_code"] == {"http_403": 1}
    await drain_queues()
    body = problem(await retry(client, batch_id, json={"codes": ["dns_error"]}), 409, "nothing-to-retry")
    assert "dns_error" in body["detail"]
    assert (await retry(client, batch_id, json={})).json()["errors_by_code"] == {}


async def test_only_a_batch_that_ended_with_failures_can_be_retried(
    client: httpx.AsyncClient, drain_queues: DrainQueues, origin: OriginServer
) -> None:
    completed = await ended(client, drain_queues, origin.serve("/a.jpg", image_bytes()))
    problem(await retry(client, completed), 409, "nothing-to-retry")
    running = (await upload(client, ONE_ROW))["id"]
    problem(await retry(client, running), 409, "batch-not-finished")
    await cancel(client, running)
    problem(await retry(client, running), 409, "nothing-to-retry")


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"codes": "http_404"}, "codes"),
        ({"codes": ["HTTP 404"]}, "codes.0"),
        ({"codes": [404]}, "codes.0"),
        ({"codes": ["a"] * 101}, "codes"),
        ({"code": ["http_404"]}, "code"),
    ],
)
async def test_an_invalid_field_of_a_retry_is_refused(
    client: httpx.AsyncClient, body: dict[str, Any], field: str
) -> None:
    batch = await upload(client, ONE_ROW)
    [error] = problem(await retry(client, batch["id"], json=body), 422)["errors"]
    assert error["column"] == field


@pytest.mark.parametrize(("body", "status"), [(b'{"codes": [', 422), (b"[]", 422), (b"\xff", 400)])
async def test_a_retry_with_a_body_other_than_a_json_object_is_refused(
    client: httpx.AsyncClient, body: bytes, status: int
) -> None:
    batch = await upload(client, ONE_ROW)
    headers = {"Content-Type": "application/json"}
    problem(await retry(client, batch["id"], content=body, headers=headers), status)


# -- delete -----------------------------------------------------------------------------------------------------------


async def test_after_a_delete_every_link_is_404(
    client: httpx.AsyncClient, drain_queues: DrainQueues, origin: OriginServer, settings: Settings
) -> None:
    batch_id = await ended(client, drain_queues, origin.serve("/a.jpg", image_bytes()))
    [product] = (await client.get(f"/v1/batches/{batch_id}/products")).json()["data"]
    [image] = product["output_urls"]
    paths = [f"/v1/batches/{batch_id}{rest}" for rest in ("", "/products", "/output.csv", "/deliveries")]
    assert {(await client.get(path)).status_code for path in [*paths, image]} == {200}
    answer = await delete(client, batch_id)
    assert (answer.status_code, answer.content) == (204, b"")
    for path in [*paths, image]:
        problem(await client.get(path), 404, "not-found")
    problem(await delete(client, batch_id), 404, "not-found")
    assert not (settings.data_dir / "media" / batch_id).exists()


async def test_a_running_batch_must_be_cancelled_before_it_is_deleted(client: httpx.AsyncClient) -> None:
    batch = await upload(client, ONE_ROW)
    body = problem(await delete(client, batch["id"]), 409, "batch-not-finished")
    assert "cancel" in body["detail"]
    await cancel(client, batch["id"])
    assert (await delete(client, batch["id"])).status_code == 204


async def test_a_delete_without_storage_is_accepted_and_completed_later_by_a_worker(
    client: httpx.AsyncClient, drain_queues: DrainQueues, origin: OriginServer, settings: Settings
) -> None:
    batch_id = await ended(client, drain_queues, origin.serve("/a.jpg", image_bytes()))
    media = settings.data_dir / "media"
    away = media.rename(settings.data_dir / "unmounted")
    media.write_text("a file where the folder should be")
    assert (await delete(client, batch_id)).status_code == 204
    problem(await client.get(f"/v1/batches/{batch_id}"), 404, "not-found")
    media.unlink()
    away.rename(media)
    await drain_queues()
    assert not (media / batch_id).exists()


async def test_a_download_is_cut_off_when_its_batch_is_deleted(
    settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    """The client must notice that the CSV is incomplete; the log has one line, and no traceback."""
    wide = "x" * 300
    text = catalogue(*((str(number), wide, "htp://nowhere") for number in range(2_500)))
    async with served(settings) as client:
        answer = await client.post("/v1/batches", content=text, headers=CSV, params={"on_invalid": "skip"})
        batch_id = answer.json()["id"]
        async with client.stream("GET", f"/v1/batches/{batch_id}/output.csv") as report:
            assert report.status_code == 200
            chunks = report.aiter_bytes()
            read = len(await anext(chunks))
            assert (await delete(client, batch_id)).status_code == 204
            with pytest.raises(httpx.RemoteProtocolError, match="incomplete"):
                async for chunk in chunks:
                    read += len(chunk)
    assert 0 < read < len(text)
    assert "response_cut_off" in caplog.text
    assert "Traceback" not in caplog.text
