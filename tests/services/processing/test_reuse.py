"""An unchanged catalogue processed again: earlier renditions are reused, but only where that is right."""

from datetime import timedelta
from typing import Any

import pytest
from sqlmodel import col, update

from imgsvc.bootstrap import Resources
from imgsvc.db.tables import Asset, Batch
from imgsvc.domain.imaging import compress
from imgsvc.domain.imaging.spec import Format, Spec
from imgsvc.services.integrity.audit import run_audit
from imgsvc.services.processing import rendition_plan
from imgsvc.services.processing.process_asset import AssetProcessor
from support.audits import violations
from support.batches import ManualClock, assets_of, consistent_batch, submit_batch
from support.images import decoded
from support.lanes import work
from support.origin_server import OriginServer, image_bytes
from support.storage import load
from support.storage import stored as files_in
from support.verbs import add_key, cancel, clean_up, delete, retry

TAGGED = {"ETag": '"v1"'}
DATED = {"Last-Modified": "Wed, 01 Jul 2026 10:00:00 GMT"}


async def processed(resources: Resources, processor: AssetProcessor, url: str, **fields: Any) -> Asset:
    """Process a batch of this URL and return its only asset."""
    assert isinstance(resources.clock, ManualClock)
    resources.clock.forward(1)
    batch = await submit_batch(resources, [url], **fields)
    await work(batch.id, resources, processor)
    await consistent_batch(resources.sessions, batch.id)
    [asset] = await assets_of(resources.sessions, batch.id)
    return asset


def action(asset: Asset) -> str:
    [rendition] = asset.renditions or []
    return str(rendition["action"])


async def stored(resources: Resources, asset: Asset) -> bytes:
    [rendition] = asset.renditions or []
    return await load(resources.storage, rendition["key"])


async def faults(resources: Resources) -> object:
    """Return the findings of the deep check, which here includes files that are being written."""
    return violations(
        await run_audit(
            sessions=resources.sessions,
            inventory=resources.storage,
            clock=resources.clock,
            grace=timedelta(seconds=-60),
        )
    )


def conditions(origin: OriginServer) -> list[str | None]:
    """Return the entity tag or date that each request sent."""
    return [r.headers.get("If-None-Match", r.headers.get("If-Modified-Since")) for r in origin.requests]


async def test_an_unchanged_image_keeps_its_stored_file(
    resources: Resources, processor: AssetProcessor, origin: OriginServer
) -> None:
    url = origin.serve("/a.jpg", image_bytes(320, 200), headers=TAGGED | DATED)
    first, second = await processed(resources, processor, url), await processed(resources, processor, url)
    assert (action(first), action(second)) == ("compressed", "reused")
    assert conditions(origin) == [None, '"v1"']
    assert await stored(resources, first) == await stored(resources, second)
    [old], [new] = first.renditions or [], second.renditions or []
    assert {**new, "action": ""} == {**old, "action": ""}
    assert len(files_in(resources)) == 1
    assert (second.width, second.input_bytes, second.etag) == (first.width, first.input_bytes, first.etag)
    assert await faults(resources) == {}


async def test_a_reused_rendition_can_be_reused_again(
    resources: Resources, processor: AssetProcessor, origin: OriginServer
) -> None:
    url = origin.serve("/a.jpg", image_bytes(), headers=TAGGED)
    first, second = await processed(resources, processor, url), await processed(resources, processor, url)
    await delete(resources, first.batch_id)
    third = await processed(resources, processor, url)
    assert [action(asset) for asset in (second, third)] == ["reused", "reused"]
    assert await stored(resources, third) == await stored(resources, second)


async def test_a_date_alone_makes_a_conditional_fetch(
    resources: Resources, processor: AssetProcessor, origin: OriginServer
) -> None:
    url = origin.serve("/a.jpg", image_bytes(), headers=DATED)
    await processed(resources, processor, url)
    assert action(await processed(resources, processor, url)) == "compressed"  # this origin ignores dates
    assert conditions(origin) == [None, DATED["Last-Modified"]]


async def test_a_changed_image_is_compressed_from_the_same_response(
    resources: Resources, processor: AssetProcessor, origin: OriginServer
) -> None:
    url = origin.serve("/a.jpg", image_bytes(), headers=TAGGED)
    await processed(resources, processor, url)
    origin.serve("/a.jpg", image_bytes(160, 120), headers={"ETag": '"v2"'})
    asset = await processed(resources, processor, url)
    assert (action(asset), asset.etag, decoded(await stored(resources, asset)).size) == (
        "compressed",
        '"v2"',
        (160, 120),
    )
    assert conditions(origin) == [None, '"v1"']
    assert action(await processed(resources, processor, url)) == "reused"
    assert conditions(origin) == [None, '"v1"', '"v2"']


async def test_without_validators_the_fetch_is_unconditional(
    resources: Resources, processor: AssetProcessor, origin: OriginServer
) -> None:
    url = origin.serve("/a.jpg", image_bytes())
    first, second = await processed(resources, processor, url), await processed(resources, processor, url)
    assert [action(first), action(second)] == ["compressed", "compressed"]
    assert first.renditions == second.renditions
    assert conditions(origin) == [None, None]


# -- limits of reuse --------------------------------------------------------------------------------------------------


async def test_refresh_fetches_everything_again_and_its_results_are_reused_later(
    resources: Resources, processor: AssetProcessor, origin: OriginServer
) -> None:
    url = origin.serve("/a.jpg", image_bytes(), headers=TAGGED)
    await processed(resources, processor, url)
    assert action(await processed(resources, processor, url, refresh=True)) == "compressed"
    assert action(await processed(resources, processor, url)) == "reused"
    assert conditions(origin) == [None, None, '"v1"']


@pytest.mark.parametrize(
    "spec", [Spec(quality=51), Spec(format=Format.webp), Spec(max_width=32), Spec(name="thumb"), Spec(trim=True)]
)
async def test_another_spec_prevents_reuse(
    resources: Resources, processor: AssetProcessor, origin: OriginServer, spec: Spec
) -> None:
    url = origin.serve("/a.jpg", image_bytes(), headers=TAGGED)
    await processed(resources, processor, url)
    assert action(await processed(resources, processor, url, specs=(spec,))) == "compressed"
    assert conditions(origin) == [None, None]


def test_an_upgrade_keeps_the_hashes_of_catalogues_without_new_options() -> None:
    """The hash is that of version 1: if it changed, every catalogue would be compressed again."""
    specs = [Spec(), Spec(name="thumb", max_width=200, format=Format.webp)]
    known = "9f9960e0490fea4ace7e1103bec98abc2a146cdbc712d2a46dbba5c1102f6e3b"
    assert rendition_plan.ReuseHashes("key_local", specs).for_url("https://shop.example/a.jpg") == known


async def test_renditions_of_another_api_key_are_never_reused(
    resources: Resources, processor: AssetProcessor, origin: OriginServer
) -> None:
    url = origin.serve("/a.jpg", image_bytes(), headers=TAGGED)
    theirs = await processed(resources, processor, url)
    other = await add_key(resources)
    batch = await submit_batch(resources, [url])
    async with resources.sessions.write() as session:
        await session.exec(update(Batch).where(col(Batch.id) == batch.id).values(api_key_id=other))
    await work(batch.id, resources, processor)
    [asset] = await assets_of(resources.sessions, batch.id)
    assert action(asset) == "compressed"
    assert asset.reuse_hash != theirs.reuse_hash
    assert conditions(origin) == [None, None]


async def test_renditions_of_an_older_compressor_are_not_reused(
    resources: Resources, processor: AssetProcessor, origin: OriginServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = origin.serve("/a.jpg", image_bytes(), headers=TAGGED)
    await processed(resources, processor, url)
    monkeypatch.setattr(rendition_plan, "COMPRESSOR_VERSION", compress.COMPRESSOR_VERSION + 1)
    assert action(await processed(resources, processor, url)) == "compressed"


async def test_an_unrequested_304_is_a_failure(
    resources: Resources, processor: AssetProcessor, origin: OriginServer
) -> None:
    asset = await processed(resources, processor, origin.url("/status/304"))
    assert (asset.status, asset.error_code) == ("failed", "http_304")


# -- deletions and retries --------------------------------------------------------------------------------------------


async def test_an_image_whose_earlier_rendition_is_gone_is_fetched_again(
    resources: Resources, processor: AssetProcessor, origin: OriginServer
) -> None:
    url = origin.serve("/a.jpg", image_bytes(), headers=TAGGED)
    first = await processed(resources, processor, url)
    [rendition] = first.renditions or []
    await resources.storage.remove([rendition["key"]])
    second = await processed(resources, processor, url)
    assert (action(second), second.attempts) == ("compressed", 1)
    assert conditions(origin) == [None, '"v1"', None]


async def test_a_reused_rendition_outlives_the_batch_that_it_came_from(
    resources: Resources, processor: AssetProcessor, origin: OriginServer, clock: ManualClock
) -> None:
    url = origin.serve("/a.jpg", image_bytes(), headers=TAGGED)
    first, second = await processed(resources, processor, url), await processed(resources, processor, url)
    await delete(resources, first.batch_id)
    clock.forward(100_000)
    await clean_up(resources, first.batch_id)
    await clean_up(resources, second.batch_id)
    assert decoded(await stored(resources, second)).size == (64, 48)
    assert await faults(resources) == {}


async def test_a_retry_reuses_what_another_batch_has_made_since(
    resources: Resources, processor: AssetProcessor, origin: OriginServer
) -> None:
    path, url = "/a.jpg", origin.url("/a.jpg")
    failed = await processed(resources, processor, url)
    origin.serve(path, image_bytes(), headers=TAGGED)
    await processed(resources, processor, url)
    await retry(resources, failed.batch_id)
    await work(failed.batch_id, resources, processor)
    [asset] = await assets_of(resources.sessions, failed.batch_id)
    assert action(asset) == "reused"
    assert await faults(resources) == {}


async def test_what_succeeded_before_a_cancellation_can_be_reused(
    resources: Resources, processor: AssetProcessor, origin: OriginServer
) -> None:
    urls = [origin.serve(f"/{number}.jpg", image_bytes(), headers=TAGGED) for number in range(2)]
    batch = await submit_batch(resources, urls)
    await work(batch.id, resources, processor, assets=1, lifetime=0)
    await cancel(resources, batch.id)
    kept = [asset for asset in await assets_of(resources.sessions, batch.id) if asset.status == "succeeded"]
    assert all([action(await processed(resources, processor, asset.origin_url)) == "reused" for asset in kept])
