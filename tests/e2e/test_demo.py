"""`imgsvc demo`: its output, and that it leaves no process running, however it ends."""

import asyncio
import csv
import re
import signal
import sys
from base64 import b64encode
from datetime import UTC, datetime
from html import unescape
from pathlib import Path

import psutil
import pytest
from standardwebhooks import Webhook

from imgsvc.demo.catalogue import PRODUCTS
from imgsvc.demo.origin import Event
from imgsvc.demo.run import DemoFailed, verified_type
from support.command import Done, imgsvc
from support.stack import until

CODES = {"http_404", "too_many_pixels", "decode_error", "not_an_image", "too_many_redirects", "blocked_address"}


def processes_of(folder: Path) -> list[psutil.Process]:
    """Return the processes whose working directory or command line contains `folder`."""
    found = []
    for process in psutil.process_iter():
        try:
            if str(folder) in " ".join([process.cwd(), *process.cmdline()]):
                found.append(process)
        except psutil.Error:  # it has just exited
            continue
    return found


@pytest.mark.slow
@pytest.mark.timeout(240)  # twice 6 s on two idle cores
async def test_two_concurrent_demos_each_complete(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("IMGSVC_DATABASE_URL=postgresql+asyncpg://prod/imgsvc\n")  # the demo must ignore it
    real = {"IMGSVC_REDIS_URL": "redis://prod:1", "imgsvc_database_url": f"sqlite+aiosqlite:///{tmp_path}/real.db"}
    both: list[Done] = await asyncio.gather(
        *(imgsvc("demo", cwd=tmp_path, within=200, COLUMNS="120", **real) for _ in range(2))
    )
    assert not (tmp_path / "real.db").exists()
    for done in both:
        assert (done.code, done.err) == (0, "")
        assert "Webhook batch.completed_with_errors received; its signature is valid." in done.out
        assert {code for code in CODES if code in done.out} == CODES
        assert re.search(r"completed_with_errors: \d+ of \d+ images compressed, .* saved", done.out)
    folders = {re.search(r"(demo/\d)/contact-sheet.html", done.out).group(1) for done in both}  # type: ignore[union-attr]
    assert folders == {"demo/1", "demo/2"}
    for folder in folders:
        assert_complete(tmp_path / folder)
    assert processes_of(tmp_path) == []


def assert_complete(folder: Path) -> None:
    """Assert that the CSV has all its slots and that every image linked on the page exists."""
    rows = list(csv.DictReader((folder / "output.csv").read_text(encoding="utf-8").splitlines()))
    slots = [slot for row in rows for slot in row["Output Image Urls"].split(",")]
    assert slots.count("") == len(CODES)
    listed = [image for product in PRODUCTS for image in product.images]
    assert len(slots) == len(listed)
    page = (folder / "contact-sheet.html").read_text(encoding="utf-8")
    links = {unescape(link) for link in re.findall(r'href="([^"]+)"', page)}
    assert all((folder / link).stat().st_size for link in links)
    assert page.count('alt="before"') == len(set(listed)) - len(CODES)
    assert len(links) == 2 * page.count('alt="before"')
    assert page.count('class="failed"') == len(CODES)


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL], ids=str)
async def test_an_interrupted_demo_leaves_nothing_running(tmp_path: Path, number: signal.Signals) -> None:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "imgsvc", "demo"), cwd=tmp_path, stdout=asyncio.subprocess.DEVNULL
    )

    async def has_started_children() -> bool:
        return len(processes_of(tmp_path)) > 3

    await until(has_started_children)
    started = processes_of(tmp_path)
    process.send_signal(number)
    await asyncio.wait_for(process.wait(), 50)
    _, alive = await asyncio.to_thread(psutil.wait_procs, started, 50)
    assert alive == []


async def test_an_existing_folder_is_refused_with_a_message(tmp_path: Path) -> None:
    done = await imgsvc("demo", "--folder", str(tmp_path), cwd=tmp_path)
    assert (done.code, done.err.strip()) == (1, f"{tmp_path} already exists; the demo needs a new folder.")


@pytest.mark.slow
async def test_a_folder_may_have_any_name(tmp_path: Path) -> None:
    folder = "my [red]dämo[/bold]"
    done = await imgsvc("demo", "--folder", folder, cwd=tmp_path)
    assert (done.code, done.err) == (0, "")
    assert f"{folder}/contact-sheet.html" in done.out


def test_a_webhook_with_a_wrong_signature_fails_the_demo() -> None:
    secret, other = (f"whsec_{b64encode(bytes([number] * 32)).decode()}" for number in (1, 2))
    now = datetime.now(UTC)
    body = '{"type": "batch.completed"}'
    headers = {
        "webhook-id": "evt_1",
        "webhook-timestamp": str(int(now.timestamp())),
        "webhook-signature": Webhook(secret).sign("evt_1", now, body),
    }
    assert verified_type(Event(headers, body.encode()), secret) == "batch.completed"
    with pytest.raises(DemoFailed, match="invalid signature"):
        verified_type(Event(headers, body.encode()), other)
