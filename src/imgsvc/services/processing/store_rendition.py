"""Store a rendition under its key, or find one that is stored already."""

from functools import partial
from typing import Any

from imgsvc.db.queries.leases import Claimed
from imgsvc.db.queries.reuse import PreviousResult
from imgsvc.domain.imaging.compress import Rendition
from imgsvc.domain.imaging.formats import OUTPUT_FORMATS
from imgsvc.domain.imaging.spec import Spec
from imgsvc.domain.media_keys import folder_of
from imgsvc.errors import ObjectNotFound
from imgsvc.services.ports import ReadableStorage
from imgsvc.services.processing.rendition_plan import RenditionPlan
from imgsvc.services.processing.retry_policy import Attempts


async def store_rendition(
    rendition: Rendition,
    spec: Spec,
    attempts: Attempts,
    plan: RenditionPlan,
    previous: PreviousResult | None,
    *,
    storage: ReadableStorage,
) -> dict[str, Any]:
    """Store the rendition, and return its entry in the asset's JSON column."""
    key = plan.key(attempts.asset, name=spec.name, data=rendition.data, format_name=rendition.format, previous=previous)
    media_type = OUTPUT_FORMATS[rendition.format].media_type
    await attempts.at_storage(partial(storage.put, key, rendition.data, media_type=media_type))
    return {
        "name": spec.name,
        "key": key,
        "format": rendition.format,
        "width": rendition.width,
        "height": rendition.height,
        "bytes": len(rendition.data),
        "action": rendition.action,
    }


async def reuse_rendition(
    old: dict[str, Any], attempts: Attempts, plan: RenditionPlan, *, storage: ReadableStorage
) -> dict[str, Any] | None:
    """Return the entry of a rendition of an earlier batch, which is not copied; None when it is not stored any more."""
    if folder_of(old["key"]):
        is_stored = await attempts.at_storage(partial(storage.exists, old["key"]))
        return {**old, "action": "reused"} if is_stored else None
    key: str | None = await attempts.at_storage(partial(_adopt, attempts.asset, plan, old, storage))
    return None if key is None else {**old, "key": key, "action": "reused"}


async def _adopt(asset: Claimed, plan: RenditionPlan, old: dict[str, Any], storage: ReadableStorage) -> str | None:
    """Store a rendition of an earlier version, which belongs to one batch, under a key that batches can share."""
    try:
        opened = await storage.open(old["key"])
    except ObjectNotFound:
        return None
    data = b"".join([chunk async for chunk in opened.chunks])
    key = plan.key(asset, name=old["name"], data=data, format_name=old["format"])
    await storage.put(key, data, media_type=OUTPUT_FORMATS[old["format"]].media_type)
    return key
