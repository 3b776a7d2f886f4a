"""Access: API keys, batches of other keys, cross-origin requests, and signed links."""

import json
from collections.abc import AsyncIterator
from urllib.parse import urlsplit

import httpx
import pytest

from imgsvc.bootstrap import Resources
from imgsvc.services.access.api_keys import create_key, revoke_key
from imgsvc.settings.server import Settings
from support.api_calls import CSV, ONE_ROW, DrainQueues, catalogue, problem, serving, upload
from support.origin_server import WebhookListener

CALLS = (
    ("POST", "/v1/batches"),
    ("GET", "/v1/batches"),
    ("GET", "/v1/batches/bat_01m81syxdvn0cchm7jgbq1vyb2"),
    ("GET", "/v1/batches/bat_01m81syxdvn0cchm7jgbq1vyb2/products"),
    ("GET", "/v1/batches/bat_01m81syxdvn0cchm7jgbq1vyb2/output.csv"),
    ("GET", "/v1/batches/bat_01m81syxdvn0cchm7jgbq1vyb2/failures.csv"),
    ("GET", "/v1/batches/bat_01m81syxdvn0cchm7jgbq1vyb2/checks.csv"),
    ("GET", "/v1/batches/bat_01m81syxdvn0cchm7jgbq1vyb2/archive.zip"),
    ("GET", "/v1/batches/bat_01m81syxdvn0cchm7jgbq1vyb2/events"),
    ("POST", "/v1/batches/bat_01m81syxdvn0cchm7jgbq1vyb2/cancel"),
    ("POST", "/v1/batches/bat_01m81syxdvn0cchm7jgbq1vyb2/retry"),
    ("DELETE", "/v1/batches/bat_01m81syxdvn0cchm7jgbq1vyb2"),
    ("GET", "/v1/batches/bat_01m81syxdvn0cchm7jgbq1vyb2/deliveries"),
    ("POST", "/v1/deliveries/evt_01m81sz00wq6j8v5n2m3k4r7xt/redeliver"),
    ("POST", "/v1/webhooks/test"),
)
PUBLIC = ("/docs/catalog.csv", "/healthz", "/readyz", "/docs", "/openapi.json", "/media/none.jpg")
ENDED = catalogue(("1", "Shoe", "htp://nowhere"))


@pytest.fixture
def database_kind() -> str:
    return "sqlite"  # HTTP responses are the same on both


async def key(resources: Resources, name: str = "shop") -> dict[str, str]:
    """Create a key, and return the header that contains it."""
    _, token = await create_key(name, sessions=resources.sessions, clock=resources.clock)
    return {"Authorization": f"Bearer {token}"}


@pytest.fixture
async def own_header(resources: Resources) -> dict[str, str]:
    return await key(resources)


@pytest.fixture
async def protected_client(own_header: dict[str, str], client: httpx.AsyncClient) -> AsyncIterator[httpx.AsyncClient]:
    """The API once a key exists."""
    yield client


@pytest.mark.parametrize(("method", "path"), CALLS)
async def test_every_protected_operation_requires_a_key(
    protected_client: httpx.AsyncClient, method: str, path: str
) -> None:
    for header in ({}, {"Authorization": "Bearer isk_wrong"}, {"Authorization": "Basic dXNlcjpwYXNz"}):
        answer = await protected_client.request(method, path, headers=header)
        problem(answer, 401, "unauthorized")
        assert answer.headers["www-authenticate"].startswith("Bearer")


@pytest.mark.parametrize("path", PUBLIC)
async def test_public_paths_require_no_key(protected_client: httpx.AsyncClient, path: str) -> None:
    assert (await protected_client.get(path)).status_code != 401


async def test_a_key_is_refused_before_the_body_is_read(protected_client: httpx.AsyncClient) -> None:
    async def endless() -> AsyncIterator[bytes]:
        yield b"S. No."
        raise AssertionError("the body is read")

    problem(await protected_client.post("/v1/batches", content=endless(), headers=CSV), 401)


async def test_the_batch_of_another_key_is_404(
    protected_client: httpx.AsyncClient, resources: Resources, own_header: dict[str, str]
) -> None:
    other_header = await key(resources, "another shop")
    protected_client.headers = httpx.Headers(own_header)
    batch = (await upload(protected_client, ENDED, on_invalid="skip", webhook_url="http://127.0.0.1:9/"))["id"]
    [delivery] = (await protected_client.get(f"/v1/batches/{batch}/deliveries")).json()["data"]
    for method, path in CALLS[2:-1]:
        target = path.replace("bat_01m81syxdvn0cchm7jgbq1vyb2", batch)
        target = target.replace("evt_01m81sz00wq6j8v5n2m3k4r7xt", delivery["id"])
        problem(await protected_client.request(method, target, headers=other_header), 404, "not-found")
    assert (await protected_client.get(f"/v1/batches/{batch}")).status_code == 200


async def test_an_idempotency_key_is_scoped_to_its_api_key(
    protected_client: httpx.AsyncClient, resources: Resources, own_header: dict[str, str]
) -> None:
    other_header = await key(resources, "another shop")
    named = CSV | {"Idempotency-Key": "monday"}
    batches = [
        (await protected_client.post("/v1/batches", content=ONE_ROW, headers=named | caller)).json()["id"]
        for caller in (own_header, other_header, own_header)
    ]
    assert batches[0] == batches[2] != batches[1]


async def test_with_auth_none_no_key_is_required(own_header: dict[str, str], settings: Settings) -> None:
    async with serving(settings.model_copy(update={"auth": "none"})) as (_, client):
        assert (await client.post("/v1/batches", content=ONE_ROW, headers=CSV)).status_code == 202
        assert (await client.post("/v1/batches", content=ONE_ROW, headers=CSV | own_header)).status_code == 202


async def test_on_a_public_address_every_request_is_401_before_the_first_key(settings: Settings) -> None:
    async with serving(settings.model_copy(update={"host": "0.0.0.0"})) as (_, client):
        refused = problem(await client.get(CALLS[2][1]), 401, "unauthorized")
    assert "imgsvc keys create" in refused["detail"]


# -- cross-origin requests --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "host",
    ["127.0.0.1:8000", "localhost:8000", "LOCALHOST", "[::1]:8000", "shop.localhost", "api:8000", "192.168.1.5:8000"],
)
async def test_host_names_that_cannot_be_registered_are_accepted(client: httpx.AsyncClient, host: str) -> None:
    assert (await client.get(CALLS[2][1], headers={"Host": host})).status_code == 404


PROXY_HEADERS = [
    "Forwarded",
    "Via",
    "X-Forwarded",
    "X-Forwarded-For",
    "X-Forwarded-Host",
    "X-Forwarded-Proto",
    "X-Forwarded-Port",
    "X-Forwarded-Server",
    "X-Forwarded-Prefix",
    "X-Original-Forwarded-For",
    "X-Original-Host",
    "X-Original-URI",
    "X-Real-IP",
    "X-Client-IP",
    "X-Cluster-Client-IP",
    "Proxy-Connection",
    "Proxy-Client-IP",
    "WL-Proxy-Client-IP",
    "Client-IP",
    "Forwarded-For",
    "X-Originating-IP",
    "X-Remote-IP",
    "X-Remote-Addr",
    "Surrogate-Capability",
    "CDN-Loop",
    "CDN-RequestId",
    "CF-Connecting-IP",
    "CF-Connecting-IPv6",
    "CF-Ray",
    "CF-Visitor",
    "CF-IPCountry",
    "True-Client-IP",
    "Fastly-Client-IP",
    "Fastly-FF",
    "Fastly-SSL",
    "X-Azure-ClientIP",
    "X-Azure-SocketIP",
    "X-Azure-Ref",
    "X-Azure-FDID",
    "X-ARR-Log-Id",
    "X-ARR-ClientCert",
    "X-Amz-Cf-Id",
    "CloudFront-Viewer-Address",
    "CloudFront-Forwarded-Proto",
    "Akamai-Origin-Hop",
    "X-Akamai-Edgescape",
    "Fly-Client-IP",
    "X-NF-Client-Connection-IP",
    "X-Vercel-Id",
    "X-Vercel-Forwarded-For",
    "X-AppEngine-User-IP",
    "X-Envoy-External-Address",
    "X-Envoy-Original-Path",
    "Incap-Client-IP",
    "X-Sucuri-ClientIP",
    "Ali-CDN-Real-IP",
    "DO-Connecting-IP",
    "Tailscale-User-Login",
    "X-Varnish",
    "X-Traefik-Router",
    "X-ProxyUser-Ip",
    "Front-End-Https",
]


@pytest.mark.parametrize("header", PROXY_HEADERS)
async def test_without_keys_requests_with_a_proxy_header_are_refused(client: httpx.AsyncClient, header: str) -> None:
    for spelling in (header, header.upper()):
        body = problem(await client.get(CALLS[2][1], headers={spelling: "203.0.113.9"}), 403, "foreign-page")
    assert "keys create" in body["detail"]
    assert header.lower() in body["detail"]  # the header is named, not its sender
    assert (await client.get("/healthz", headers={header: "203.0.113.9"})).status_code == 200


async def test_without_keys_every_operation_refuses_proxied_requests(client: httpx.AsyncClient) -> None:
    for method, path in CALLS:
        problem(await client.request(method, path, headers={"Via": "1.1 edge"}), 403, "foreign-page")


@pytest.mark.parametrize("header", ["X-Request-ID", "Traceparent", "Idempotency-Key", "X-Forward", "Viable", "Cfg"])
async def test_a_header_that_clients_send_themselves_is_not_taken_for_a_proxy(
    client: httpx.AsyncClient, header: str
) -> None:
    assert (await client.get(CALLS[2][1], headers={header: "1"})).status_code == 404


async def test_with_a_key_requests_with_proxy_headers_are_accepted(
    protected_client: httpx.AsyncClient, own_header: dict[str, str]
) -> None:
    forwarded = dict.fromkeys(PROXY_HEADERS, "203.0.113.9")
    assert (await protected_client.get(CALLS[2][1], headers=own_header | forwarded)).status_code == 404


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:8000", "127.0.0.1.evil.example", "localhost.evil.example"]
)
@pytest.mark.parametrize("auth", ["keys", "none"])
async def test_dns_rebinding_is_refused(settings: Settings, host: str, auth: str) -> None:
    async with serving(settings.model_copy(update={"auth": auth})) as (_, client):
        for method, path in CALLS:
            problem(await client.request(method, path, headers={"Host": host}), 403, "foreign-page")


@pytest.mark.parametrize("origin", ["https://evil.example", "null", "http://127.0.0.1:3000", "http://localhost:8000"])
async def test_a_form_posted_by_another_website_is_refused(client: httpx.AsyncClient, origin: str) -> None:
    form = {"file": ("catalog.csv", ONE_ROW)}
    problem(await client.post("/v1/batches", files=form, headers={"Origin": origin}), 403, "foreign-page")


@pytest.mark.parametrize("origin", ["http://127.0.0.1:8000", "HTTP://127.0.0.1:8000", "https://images.shop.example"])
async def test_our_own_docs_page_may_post(settings: Settings, origin: str) -> None:
    public = Settings.model_validate(settings.model_dump() | {"public_url": "https://images.shop.example/"})
    async with serving(public) as (_, client):
        answer = await client.post("/v1/batches", content=ONE_ROW, headers=CSV | {"Origin": origin})
        assert answer.status_code == 202, answer.text
        assert (await client.get(CALLS[2][1], headers={"Host": "images.shop.example"})).status_code == 404


async def test_with_a_key_every_host_name_is_accepted(
    protected_client: httpx.AsyncClient, own_header: dict[str, str]
) -> None:
    page = {"Host": "images.shop.example", "Origin": "https://admin.shop.example"}
    assert (
        await protected_client.post("/v1/batches", content=ONE_ROW, headers=CSV | own_header | page)
    ).status_code == 202


# -- signed links -----------------------------------------------------------------------------------------------------


async def test_the_link_in_the_webhook_opens_the_csv_until_its_key_is_revoked(
    protected_client: httpx.AsyncClient,
    resources: Resources,
    own_header: dict[str, str],
    listener: WebhookListener,
    drain_queues: DrainQueues,
) -> None:
    answer = await protected_client.post(
        "/v1/batches",
        content=ENDED,
        headers=CSV | own_header,
        params={"on_invalid": "skip", "webhook_url": listener.url("/hook")},
    )
    batch = answer.json()["id"]
    await drain_queues()
    [post] = listener.requests
    data = json.loads(post.body)["data"]
    failures = urlsplit(data["failures_csv_url"])
    assert "invalid_url: " in (await protected_client.get(f"{failures.path}?{failures.query}")).text
    link = urlsplit(data["output_csv_url"])
    path, query = link.path, link.query
    problem(await protected_client.get(f"{failures.path}?{query}"), 401, "unauthorized")
    opened = await protected_client.get(f"{path}?{query}")
    assert (opened.status_code, opened.text.splitlines()[0]) == (
        200,
        "S. No.,Product Name,Input Image Urls,Output Image Urls",
    )
    problem(await protected_client.get(f"{path}?{query[:-1]}"), 401, "unauthorized")
    problem(await protected_client.get(path), 401, "unauthorized")
    for other in ("", "/products", "/deliveries"):
        problem(await protected_client.get(f"/v1/batches/{batch}{other}?{query}"), 401, "unauthorized")
    key_id = f"key_{own_header['Authorization'].removeprefix('Bearer isk_').partition('_')[0]}"
    await revoke_key(key_id, sessions=resources.sessions, clock=resources.clock)
    problem(await protected_client.get(f"{path}?{query}"), 401, "unauthorized")
