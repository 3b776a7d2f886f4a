"""A newcomer on the docs page, in a real browser: authorises, uploads the sample, follows it, takes the CSV back.

make browser; it needs chromium, a package of the system, and leaves images in build/browser.
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
    """Of an API key made before the service is started."""
    made = await imgsvc("keys", "create", "a newcomer", cwd=tmp_path, IMGSVC_DATA_DIR=str(tmp_path))
    return re.search(r"isk_\w+", made.out)[0]  # type: ignore[index]


@pytest.fixture
async def stack(tmp_path: Path, token: str) -> AsyncIterator[Stack]:
    async with running_stack(tmp_path) as stack:
        yield stack


@pytest.fixture
async def page(stack: Stack) -> AsyncIterator[Page]:
    """The docs page; what the browser complains of is an error."""
    program = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    assert program, "There is no chromium: apt install chromium"
    complaints: list[str] = []
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        page = await browser.new_page(viewport={"width": 1280, "height": 1100})
        page.on("console", lambda message: complaints.append(message.text) if message.type == "error" else None)
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("request", lambda request: complaints.append(request.url) if not _is_ours(request.url) else None)
        await page.goto(f"{stack.client.base_url}/docs")
        yield page
        await browser.close()
    assert complaints == []


def _is_ours(url: str) -> bool:
    return url.startswith(("http://127.0.0.1", "data:", "blob:"))


async def look(page: Page, name: str) -> None:
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    await page.screenshot(path=SCREENSHOTS / f"{name}.png")


async def opened(page: Page, operation: str) -> Locator:
    """The operation, unfolded."""
    block = page.locator(f"[id$='-{operation}']")
    await block.locator(".opblock-summary-control").click()
    await block.get_by_role("button", name="Execute").wait_for()
    return block


async def answered(block: Locator) -> str:
    """Press Execute; the status and the body that came."""
    await block.get_by_role("button", name="Execute").click()
    live = block.locator(".live-responses-table")
    await live.wait_for()
    await live.scroll_into_view_if_needed()
    text: str = await live.inner_text()
    return text


async def test_a_newcomer_gets_from_the_docs_page_to_the_csv(
    page: Page, token: str, origin: OriginServer, tmp_path: Path
) -> None:
    await page.locator("[id$='-create_batch']").wait_for()
    await look(page, "1-docs")

    await page.get_by_role("button", name="Authorize").first.click()
    await page.get_by_label("Value").fill(token)
    await look(page, "2-authorize")
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

    block = await opened(page, "create_batch")
    await block.get_by_label("Request content type").select_option("multipart/form-data")
    await block.locator("input[type=file]").set_input_files(catalogue)
    told = await answered(block)
    await look(page, "3-uploaded")
    assert "202" in told
    batch_id = re.search(r"bat_\w{26}", told)[0]  # type: ignore[index]

    block = await opened(page, "get_batch")
    await block.locator("tr[data-param-name=batch_id] input").fill(batch_id)
    await block.locator("tr[data-param-name=wait] input").fill("30")

    async def is_completed() -> bool:
        return '"completed"' in await answered(block)

    await until(is_completed)
    await look(page, "4-followed")

    block = await opened(page, "get_output_csv")
    await block.locator("tr[data-param-name=batch_id] input").fill(batch_id)
    await answered(block)
    await look(page, "5-taken-back")
    async with page.expect_download() as downloading:
        await block.get_by_text("Download", exact=False).first.click()
    report = Path(await (await downloading.value).path()).read_text(encoding="utf-8")
    assert report.splitlines()[0] == sample.splitlines()[0] + ",Output Image Urls"
    assert report.count("/media/") == len(IMAGES)
