"""`imgsvc check --deep`: its findings about stored data, and its exit codes."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from imgsvc.bootstrap import Resources
from imgsvc.doctor.deep_check import run_deep_checks
from imgsvc.doctor.finding import Finding
from imgsvc.services.integrity.rules import Category
from imgsvc.settings.server import Settings
from support.api_calls import write
from support.batches import submit_batch
from support.command import Done, imgsvc
from support.origin_server import OriginServer, image_bytes
from support.stack import Stack, running_stack

HOUR = 3_600
PARTS = [str(part) for part in Category]


async def found(settings: Settings, **options: float) -> dict[str, Finding]:
    return {finding.part: finding for finding in await run_deep_checks(settings, **options)}


@pytest.fixture
async def shop(resources: Resources) -> AsyncIterator[Settings]:
    """Settings of a service with one batch."""
    await submit_batch(resources, ["ftp://shop.example/1"], on_invalid="skip", webhook_url="http://shop.example/hook")
    yield resources.settings


async def test_each_part_reports_what_was_checked(shop: Settings) -> None:
    findings = await found(shop)
    assert list(findings)[-len(PARTS) :] == PARTS
    assert all(findings[part].ok and not findings[part].advice for part in PARTS)
    assert findings["Counters"].message == "1 batches, 1 products, 1 images: the counters match the rows."
    assert findings["Webhooks"].message.startswith("1 deliveries, 0 attempts")
    assert "3600 s" in findings["Leftovers"].message  # the default of IMGSVC_TIDY_AFTER


async def test_faults_are_reported_in_a_few_lines_with_advice(resources: Resources) -> None:
    for _ in range(7):
        await submit_batch(resources, ["ftp://shop.example/1"], on_invalid="skip")
    await write(resources.settings, "UPDATE batch SET url_count = 9")
    counters = (await found(resources.settings))["Counters"]
    assert not counters.ok
    lines = counters.message.splitlines()
    assert len(lines) == 6
    assert all("`url_count` is 9, but the rows add up to 1" in line for line in lines[:5])
    assert lines[5] == "and 2 more"
    assert "report it" in counters.advice


async def test_the_grace_time_can_be_chosen(shop: Settings) -> None:
    (shop.data_dir / "media" / "notes.txt").write_text("mine")
    assert (await found(shop, grace=HOUR))["Leftovers"].ok
    assert "notes.txt" in (await found(shop, grace=0))["Leftovers"].message


async def test_without_a_database_nothing_is_checked_or_created(settings: Settings, tmp_path: Path) -> None:
    findings = await found(settings.model_copy(update={"data_dir": tmp_path / "new", "database_url": ""}))
    assert not findings["Deep"].ok
    assert not set(PARTS) & set(findings)
    assert not (tmp_path / "new").exists()


async def test_an_interrupted_check_is_reported(shop: Settings) -> None:
    await write(shop, "DROP TABLE idempotency_key")
    deep = (await found(shop))["Deep"]
    assert not deep.ok
    assert "no such table: idempotency_key" in deep.message


@pytest.mark.slow
async def test_the_command_passes_on_a_running_service_and_then_reports_a_missing_file(
    tmp_path: Path, origin: OriginServer
) -> None:
    async with running_stack(tmp_path) as stack:
        await _finished_batch(stack, origin)
        healthy = await _check(tmp_path, "--deep")
        assert (healthy.code, healthy.err) == (0, "")
        assert [line.split()[:2] for line in healthy.out.splitlines()][-len(PARTS) :] == [
            ["ok", part] for part in PARTS
        ]

        [file] = (tmp_path / "media").glob("*/*")
        file.unlink()
        assert (await _check(tmp_path)).code == 0  # every part works
        broken = await _check(tmp_path, "--deep")
        assert broken.code == 1
        assert f"{file.parent.name}/{file.name} is not in the storage" in " ".join(broken.out.split())


async def _finished_batch(stack: Stack, origin: OriginServer) -> str:
    url = origin.serve("/shoe.jpg", image_bytes())
    batch_id = await stack.upload(f"S. No.,Product Name,Input Image Urls\n1,Shoe,{url}\n")
    await stack.finished(batch_id)
    return batch_id


async def _check(folder: Path, *options: str) -> Done:
    return await imgsvc("check", "--data-dir", ".", *options, cwd=folder)


async def test_a_negative_grace_time_is_refused(tmp_path: Path) -> None:
    done = await imgsvc("check", "--deep", "--grace", "-1", cwd=tmp_path)
    assert done.code == 2
