"""The programs of docs/webhooks.md work, and the page quotes them word for word.

The program for Node needs an npm package: run docs/examples/check-node.sh by hand.
"""

import asyncio
import os
import re
import sqlite3
import sys
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pytest

from imgsvc.domain.webhooks import event_body, signed_headers
from imgsvc.settings.server import WEBHOOK_SCHEDULE
from support.origin_server import OriginServer, WebhookListener, image_bytes
from support.paths import DOCS
from support.stack import SECRET, free_port, running_stack, until

EXAMPLES = DOCS / "examples"
PAGE = (EXAMPLES.parent / "webhooks.md").read_text(encoding="utf-8")
OTHER_SECRET = "whsec_a8quTxHSnbBhUfbryF/oxBZ6DWf0tNkY"
BODY = event_body("batch.completed", at=datetime.now(UTC), data={"id": "bat_1", "status": "completed", "note": "é 😀"})
VERIFIERS = {"verify.py": [sys.executable, "verify.py"], "verify.sh": ["sh", "verify.sh"]}
VERIFIES = pytest.mark.parametrize("program", VERIFIERS)


def signed(*, ago: timedelta = timedelta(), secrets: tuple[str, ...] = (SECRET,)) -> dict[str, str]:
    return signed_headers("evt_1", BODY, secrets=secrets, at=datetime.now(UTC) - ago)


async def verdict(program: str, headers: Mapping[str, str], *, body: str = BODY, secret: str = SECRET) -> str:
    """Return the standard output of the program; it is empty for a refusal."""
    process = await asyncio.create_subprocess_exec(
        *VERIFIERS[program],
        *(headers[f"webhook-{name}"] for name in ("id", "timestamp", "signature")),
        cwd=EXAMPLES,
        env={**os.environ, "WEBHOOK_SECRET": secret},
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, err = await asyncio.wait_for(process.communicate(body.encode()), 30)
    assert err.startswith(b"refused: ") if process.returncode else not err, err
    return "" if process.returncode else out.decode().strip()


def test_the_page_quotes_every_program_that_it_links_word_for_word() -> None:
    linked = set(re.findall(r"\(examples/([\w.-]+)\)", PAGE))
    assert linked == {path.name for path in EXAMPLES.iterdir() if path.is_file()} - {"check-node.sh"}
    for name in linked:
        assert f"\n{(EXAMPLES / name).read_text(encoding='utf-8')}```\n" in PAGE, name


def test_the_page_has_the_schedule_of_the_code_and_its_length() -> None:
    hours = sum(WEBHOOK_SCHEDULE) / 3600
    assert f"{len(WEBHOOK_SCHEDULE)} attempts in {hours:.0f} hours, a little over three days" in " ".join(PAGE.split())
    assert 72 < hours < 80
    shown = "5 seconds, 5 minutes, 30 minutes, 2, 5, 10, 14, 20 and 24 hours"
    assert shown in " ".join(PAGE.split())
    assert (0, 5, 300, 1800, *(3600 * hour for hour in (2, 5, 10, 14, 20, 24))) == WEBHOOK_SCHEDULE


@VERIFIES
async def test_an_event_signed_by_imgsvc_is_accepted(program: str) -> None:
    assert await verdict(program, signed()) in {"batch.completed", "the signature is valid"}


@VERIFIES
@pytest.mark.parametrize("secret", [SECRET, OTHER_SECRET])
async def test_during_rotation_either_secret_verifies(program: str, secret: str) -> None:
    assert await verdict(program, signed(secrets=(OTHER_SECRET, SECRET)), secret=secret)


@VERIFIES
async def test_a_body_that_was_tampered_with_is_refused(program: str) -> None:
    assert not await verdict(program, signed(), body=BODY.replace("completed", "cancelled"))


@VERIFIES
async def test_another_id_or_another_secret_is_refused(program: str) -> None:
    assert not await verdict(program, signed() | {"webhook-id": "evt_2"})
    assert not await verdict(program, signed(), secret=OTHER_SECRET)


@VERIFIES
@pytest.mark.parametrize("ago", [timedelta(minutes=6), timedelta(minutes=-6)])
async def test_a_replayed_message_is_refused(program: str, ago: timedelta) -> None:
    assert not await verdict(program, signed(ago=ago))


@VERIFIES
async def test_an_invalid_timestamp_is_refused(program: str) -> None:
    assert not await verdict(program, signed() | {"webhook-timestamp": "now"})


async def test_the_receiver_handles_an_event_once_however_often_it_arrives(tmp_path: Path) -> None:
    port = free_port()
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, EXAMPLES / "receiver.py", str(port)),
        cwd=tmp_path,
        env={**os.environ, "WEBHOOK_SECRET": SECRET},
        stderr=asyncio.subprocess.DEVNULL,
    )
    try:
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", trust_env=False, timeout=10) as client:

            async def post(headers: Mapping[str, str], body: str = BODY) -> int:
                try:
                    return (await client.post("/", content=body, headers=headers)).status_code
                except httpx.ConnectError:
                    return 0

            assert await until(lambda: post(signed())) == 204
            assert await post(signed()) == 204
            assert await post(signed(), BODY + " ") == 400
            assert await post(signed(), BODY * 1_000) == 413
    finally:
        process.terminate()
        await process.wait()
    database = sqlite3.connect(tmp_path / "shop.db")
    rows = database.execute("SELECT * FROM ended").fetchall()
    database.close()
    assert rows == [("bat_1", "completed")]


@pytest.mark.slow
async def test_after_an_outage_exhausted_events_are_redelivered_once(
    tmp_path: Path, origin: OriginServer, listener: WebhookListener
) -> None:
    origin.serve("/a.jpg", image_bytes())
    listener.statuses = [500]
    manifest = f"No,Name,Images\n1,Shoe,{origin.url('/a.jpg')}\n"
    async with running_stack(tmp_path, IMGSVC_WEBHOOK_SCHEDULE="0") as stack:
        batch_id = await stack.upload(manifest, webhook_url=listener.url("/hook"))

        async def webhook_status() -> str:
            return str((await stack.batch(batch_id))["webhook"]["status"])

        async def is_given_up() -> bool:
            return await webhook_status() == "exhausted"

        async def is_delivered() -> bool:
            return await webhook_status() == "delivered"

        async def reconciled(since: str) -> str:
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, EXAMPLES / "reconcile.py", since),
                env={**os.environ, "IMGSVC_URL": str(stack.client.base_url)},
                stdout=asyncio.subprocess.PIPE,
            )
            out, _ = await asyncio.wait_for(process.communicate(), 30)
            assert process.returncode == 0
            return out.decode()

        await until(is_given_up)
        assert await reconciled("2100-01-01") == ""
        assert await reconciled("2020-01-01") == f"{batch_id} {listener.requests[0].headers['webhook-id']}\n"
        await until(is_delivered)
        assert await reconciled("2020-01-01") == ""
    first, second = listener.requests
    assert first.headers["webhook-id"] == second.headers["webhook-id"]
    assert first.body == second.body
