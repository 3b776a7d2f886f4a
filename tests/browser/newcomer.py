"""A newcomer on the docs page in a real browser: authorises, uploads the sample, follows it, downloads the CSV.

Run it with `make browser`; it needs the system package chromium and leaves screenshots in build/browser.
"""

import re
import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from playwright.async_api import Locator, Page, async_playwright

from support.command import imgsvc
from support.origin_server import OriginServer, image_bytes
from support.paths import ROOT
from support.stack import Stack, running_stack, until

SCREENSHOTS = ROOT / "build" / "browser"
IMAGES = ("/id/29/1200/800.jpg", "/id/29/800/1200.jpg", "/id/30/1200/800.jpg")


@pytest.fixture
async def token(tmp_path: Path) -> str:
    """The token of an API key created before the service starts."""
    created = await imgsvc("keys", "create", "a newcomer", cwd=tmp_path, IMGSVC_DATA_DIR=str(tmp_path))
    return re.search(r"isk_\w+", created.out)[0]  # type: ignore[index]


@pytest.fixture
async def stack(tmp_path: Path, token: str) -> AsyncIterator[Stack]:
    async with running_stack(tmp_path) as stack:
        yield stack


@pytest.fixture
async def page(stack: Stack) -> AsyncIterator[Page]:
    """The docs page; errors in the browser's console fail the test."""
    program = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    assert program, "chromium is not installed: apt install chromium"
    errors: list[str] = []
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        page = await browser.new_page(viewport={"width": 1280, "height": 1100})
        page.on("console", lambda message: errors.append(message.text) if message.type == "error" else None)
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.on("request", lambda request: errors.append(request.url) if not _is_ours(request.url) else None)
        await page.goto(f"{stack.client.base_url}/docs")
        yield page
        await browser.close()
    assert errors == []


def _is_ours(url: str) -> bool:
    return url.startswith(("http://127.0.0.1", "data:", "blob:"))


async def screenshot(page: Page, name: str) -> None:
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    await page.screenshot(path=SCREENSHOTS / f"{name}.png")


async def open_operation(page: Page, operation: str) -> Locator:
    """Expand an operation and return its block."""
    block = page.locator(f"[id$='-{operation}']")
    await block.locator(".opblock-summary-control").click()
    await block.get_by_role("button", name="Execute").wait_for()
    return block


async def execute(block: Locator) -> str:
    """Press Execute and return the status and body of the response."""
    await block.get_by_role("button", name="Execute").click()
    live = block.locator(".live-responses-table")
    await live.wait_for()
    await live.scroll_into_view_if_needed()
    text: str = await live.inner_text()
    return text


async def test_a_newcomer_downloads_a_csv_from_the_docs_page(
    page: Page, token: str, origin: OriginServer, tmp_path: Path
) -> None:
    await page.locator("[id$='-create_batch']").wait_for()
    await screenshot(page, "1-docs")

    await page.get_by_role("button", name="Authorize").first.click()
    await page.get_by_label("Value").fill(token)
    await screenshot(page, "2-authorize")
    dialog = page.locator(".modal-ux")
    await dialog.get_by_role("button", name="Apply credentials").click()
    await dialog.get_by_role("button", name="Close").last.click()

    async with page.expect_download() as downloading:
        await page.get_by_role("link", name="a sample CSV").click()
    sample = Path(await (await downloading.value).path()).read_text(encoding="utf-8")
    for path in IMAGES:
        origin.serve(path, image_bytes(600, 400))
    catalogue = tmp_path / "catalog.csv"
    catalogue.write_text(sample.replace("https://picsum.photos", origin.url("")), encoding="utf-8")

    block = await open_operation(page, "create_batch")
    await block.get_by_label("Request content type").select_option("multipart/form-data")
    await block.locator("input[type=file]").set_input_files(catalogue)
    response = await execute(block)
    await screenshot(page, "3-uploaded")
    assert "202" in response
    batch_id = re.search(r"bat_\w{26}", response)[0]  # type: ignore[index]

    block = await open_operation(page, "get_batch")
    await block.locator("tr[data-param-name=batch_id] input").fill(batch_id)
    await block.locator("tr[data-param-name=wait] input").fill("30")

    async def is_completed() -> bool:
        return '"completed"' in await execute(block)

    await until(is_completed)
    await screenshot(page, "4-followed")

    block = await open_operation(page, "get_output_csv")
    await block.locator("tr[data-param-name=batch_id] input").fill(batch_id)
    await execute(block)
    await screenshot(page, "5-downloaded")
    async with page.expect_download() as downloading:
        await block.get_by_text("Download file").click()
    report = Path(await (await downloading.value).path()).read_text(encoding="utf-8")
    assert report.splitlines()[0] == sample.splitlines()[0] + ",Output Image Urls"
    assert report.count("/media/") == len(IMAGES)
