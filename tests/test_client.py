"""The Python client against a server that answers what the test wants, one answer after the other."""

import asyncio
import json
import os
from collections import deque
from collections.abc import AsyncIterator, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from imgsvc.api.examples import ACCEPTED, BATCH, EXAMPLE_ID, PRODUCTS
from imgsvc.client import Batch, Client, ClientError, KeyRefused, Refused, ServerAway, UnexpectedAnswer, WrongSetup
from origin_server import Server
from stack import free_port

Answer = tuple[int, Any, dict[str, str]]


@dataclass
class Scripted(Server):
    """Gives its answers in turn, the last one again and again; one of status 0 breaks the connection in the middle."""

    answers: deque[Answer] = field(default_factory=deque)

    def routes(self) -> Iterable[web.RouteDef]:
        return [web.route("*", "/{any:.*}", self._next)]

    async def _next(self, request: web.Request) -> web.StreamResponse:
        status, body, headers = self.answers.popleft() if len(self.answers) > 1 else self.answers[0]
        if status:
            text = body if isinstance(body, str) else json.dumps(body)
            return web.Response(text=text, status=status, headers={"Content-Type": "application/json", **headers})
        response = web.StreamResponse(headers={"Content-Length": "1000", "Content-Type": "text/csv"})
        await response.prepare(request)
        await response.write(b"S. No.,")
        assert request.transport
        request.transport.abort()
        return response


@pytest.fixture
async def server() -> AsyncIterator[Scripted]:
    async with Scripted() as server:
        yield server


@pytest.fixture
def client(server: Scripted) -> Iterator[Client]:
    with Client(server.url("/")) as client:
        yield client


def script(server: Scripted, *answers: tuple[int, Any] | Answer) -> None:
    server.answers.extend((*answer, {}) if len(answer) == 2 else answer for answer in answers)


async def followed(client: Client, *, patience: float = 10) -> list[Batch]:
    return await asyncio.to_thread(lambda: list(client.follow(EXAMPLE_ID, patience=patience)))


async def test_a_batch_is_followed_by_its_changes_until_its_end(server: Scripted, client: Client) -> None:
    script(server, (200, ACCEPTED, {"ETag": '"1"'}), (304, None), (200, BATCH, {"ETag": '"2"'}))
    batches = await followed(client)
    assert [batch.status for batch in batches] == ["pending", "completed_with_errors"]
    first, *others = server.requests
    assert "If-None-Match" not in first.headers
    assert [request.headers["If-None-Match"] for request in others] == ['"1"', '"1"']
    assert all("wait=" in request.path for request in others)


async def test_a_server_that_is_overloaded_for_a_moment_is_asked_again(server: Scripted, client: Client) -> None:
    script(server, (503, {}), (429, {}), (200, BATCH))
    assert [batch.has_ended for batch in await followed(client)] == [True]
    assert len(server.requests) == 3


async def test_patience_ends(server: Scripted, client: Client) -> None:
    script(server, (503, {}))
    with pytest.raises(Refused, match="HTTP 503"):
        await followed(client, patience=0.3)
    assert len(server.requests) > 1


async def test_what_is_wrong_for_good_is_not_asked_again(server: Scripted, client: Client) -> None:
    script(server, (404, {}))
    with pytest.raises(Refused, match="HTTP 404"):
        await followed(client)
    assert len(server.requests) == 1


async def test_products_are_read_page_by_page(server: Scripted, client: Client) -> None:
    script(server, (200, PRODUCTS), (200, PRODUCTS | {"has_more": False, "next": None}))
    products = await asyncio.to_thread(lambda: list(client.products(EXAMPLE_ID)))
    assert [product.product_name for product in products] == ["Mountain print"] * 2
    assert [request.path.partition("after=")[2] for request in server.requests] == ["-1", "0"]
    assert [bool(asset.error) for asset in products[0].assets] == [False, True]


async def test_a_report_that_breaks_off_leaves_nothing_behind(server: Scripted, client: Client, tmp_path: Path) -> None:
    script(server, (0, None))
    (tmp_path / "out.csv").write_text("from before")
    with pytest.raises(ServerAway):
        await asyncio.to_thread(client.save_output, EXAMPLE_ID, tmp_path / "out.csv")
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {"out.csv": "from before"}


async def test_a_login_page_is_not_taken_for_the_report(server: Scripted, client: Client, tmp_path: Path) -> None:
    script(server, (302, {}, {"Location": "/login"}), (200, {"page": "Please sign in"}))
    for _ in range(2):  # the redirect, then the page itself
        with pytest.raises(UnexpectedAnswer):
            await asyncio.to_thread(client.save_output, EXAMPLE_ID, tmp_path / "out.csv")
    assert not list(tmp_path.iterdir())


async def test_a_link_stays_a_link_and_what_it_leads_to_is_written(
    server: Scripted, client: Client, tmp_path: Path
) -> None:
    script(server, (200, [], {"Content-Type": "text/csv"}))
    (tmp_path / "link.csv").symlink_to("target.csv")
    await asyncio.to_thread(client.save_output, EXAMPLE_ID, tmp_path / "link.csv")
    assert (tmp_path / "link.csv").is_symlink()
    assert (tmp_path / "target.csv").read_text() == "[]"


async def test_a_pipe_is_written_to_and_not_replaced(server: Scripted, client: Client, tmp_path: Path) -> None:
    script(server, (200, [], {"Content-Type": "text/csv"}))
    os.mkfifo(tmp_path / "pipe")
    saving = asyncio.create_task(asyncio.to_thread(client.save_output, EXAMPLE_ID, tmp_path / "pipe"))
    assert await asyncio.to_thread((tmp_path / "pipe").read_text) == "[]"
    await saving
    assert (tmp_path / "pipe").is_fifo()


@pytest.mark.parametrize(
    ("url", "key"),
    [
        ("http://127.0.0.1:abc", None),
        ("http://[::1:18821", None),
        ("http://127.0.0.1\n", None),
        ("http://127.0.0.1", "kéy\u4e2d"),
    ],
)
def test_what_cannot_be_an_address_or_a_key_is_said_in_words(url: str, key: str | None) -> None:
    with pytest.raises(WrongSetup, match="Cannot talk to http://"):
        Client(url, api_key=key)


@pytest.mark.parametrize("body", ["{", "[]", '{"errors": null}', '{"errors": ["no"]}', '{"detail": {"a": 1}}'])
async def test_a_problem_that_is_none_is_a_refusal_all_the_same(server: Scripted, client: Client, body: str) -> None:
    script(server, (422, body, {"Content-Type": "application/problem+json"}))
    with pytest.raises(Refused, match="HTTP 422"):
        await asyncio.to_thread(client.batch, EXAMPLE_ID)


async def test_a_server_without_etags_is_not_asked_all_the_time(server: Scripted, client: Client) -> None:
    script(server, (200, ACCEPTED), (200, ACCEPTED), (200, BATCH))
    assert len(await followed(client)) == 3
    assert all("wait=" in request.path for request in server.requests[1:])


async def test_what_a_newer_server_adds_is_left_out(server: Scripted, client: Client) -> None:
    script(server, (200, BATCH | {"mood": "sunny", "status": "resting"}))
    assert (await asyncio.to_thread(client.batch, EXAMPLE_ID)).status == "resting"


@pytest.mark.parametrize(
    ("answer", "error"),
    [((200, {"id": 1}), UnexpectedAnswer), ((401, {}), KeyRefused), ((403, {}), KeyRefused), ((409, {}), Refused)],
    ids=str,
)
async def test_each_refusal_has_its_type(
    server: Scripted, client: Client, answer: tuple[int, Any], error: type[ClientError]
) -> None:
    script(server, answer)
    with pytest.raises(error):
        await asyncio.to_thread(client.batch, EXAMPLE_ID)


async def test_the_proxy_of_the_environment_is_not_asked_for_this_machine(
    server: Scripted, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", f"http://127.0.0.1:{free_port()}")
    monkeypatch.delenv("NO_PROXY", raising=False)
    script(server, (200, BATCH))
    with Client(server.url("/")) as client:
        assert (await asyncio.to_thread(client.batch, EXAMPLE_ID)).id == EXAMPLE_ID
