"""Security headers for browsers."""

import re
from base64 import b64encode
from hashlib import sha256

import httpx
import pytest
from starlette.types import Message, Receive, Scope, Send

from imgsvc.api.middleware.browser_headers import BrowserHeaders
from support.api_calls import ONE_ROW, DrainQueues, catalogue, upload
from support.origin_server import OriginServer, image_bytes


@pytest.fixture
def database_kind() -> str:
    return "sqlite"


def policy(answer: httpx.Response) -> dict[str, str]:
    directives = answer.headers["content-security-policy"].split(";")
    return {name: rest for name, _, rest in (directive.strip().partition(" ") for directive in directives)}


@pytest.mark.parametrize(
    "path", ["/", "/healthz", "/v1/batches/bat_none", "/v1/batches", "/media/none", "/openapi.json"]
)
async def test_a_browser_runs_nothing_in_a_response(path: str, client: httpx.AsyncClient) -> None:
    answer = await client.get(path)
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["referrer-policy"] == "no-referrer"
    assert policy(answer)["default-src"] == "'none'"
    assert "sandbox" in policy(answer)
    assert "script-src" not in policy(answer)


async def test_images_and_reports_are_never_served_as_pages(
    client: httpx.AsyncClient, drain_queues: DrainQueues, origin: OriginServer
) -> None:
    """They are not, even if the origin or the upload claims to be HTML."""
    url = origin.serve("/a.html", image_bytes(640, 480), content_type="text/html")
    batch = await upload(client, catalogue(("1", "<script>alert(1)</script>", url)))
    await drain_queues()
    image = await client.get((await client.get(f"{batch['links']['products']}")).json()["data"][0]["output_urls"][0])
    report = await client.get(f"/v1/batches/{batch['id']}/output.csv")
    assert image.headers["content-type"] == "image/jpeg"
    assert re.fullmatch(r'inline; filename="[0-9a-z-]+\.jpg"', image.headers["content-disposition"])
    assert image.headers["cross-origin-resource-policy"] == "cross-origin"
    assert report.headers["content-type"].startswith("text/csv")
    assert report.headers["content-disposition"].startswith("attachment")
    for answer in (image, report):
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert "sandbox" in policy(answer)


async def test_the_docs_page_runs_its_own_scripts_only(client: httpx.AsyncClient) -> None:
    answer = await client.get("/docs")
    [inline] = re.findall("<script>(.*?)</script>", answer.text, re.DOTALL)
    digest = b64encode(sha256(inline.encode()).digest()).decode()
    assert policy(answer)["script-src"] == f"'self' 'sha256-{digest}'"
    assert policy(answer)["frame-ancestors"] == "'none'"
    assert policy(answer)["connect-src"] == "'self'"
    assert not re.search(r"(?:src|href)=.(?:https?:)?//", answer.text)


async def test_the_scripts_of_a_page_sent_in_chunks_are_hashed_as_a_whole() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        start = {"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/html")]}
        for message in (start, {"body": b"<script>go", "more_body": True}, {"body": b"()</script>"}):
            await send({"type": "http.response.body", **message})

    sent: list[Message] = []

    async def receive() -> Message:
        return {"type": "http.disconnect"}

    async def send(message: Message) -> None:
        sent.append(message)

    await BrowserHeaders(app)({"type": "http"}, receive, send)
    digest = b64encode(sha256(b"go()").digest())
    assert digest in dict(sent[0]["headers"])[b"content-security-policy"]
    assert b"".join(message.get("body", b"") for message in sent) == b"<script>go()</script>"


async def test_a_browser_runs_nothing_in_an_error_response(client: httpx.AsyncClient) -> None:
    answer = await client.post("/v1/batches", content=ONE_ROW, headers={"Content-Type": "text/html"})
    assert answer.status_code == 415
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert "sandbox" in policy(answer)
