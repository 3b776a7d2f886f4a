"""Work on a batch: one run of one of its lanes."""

import asyncio
from datetime import datetime

from imgsvc.db.engine import Sessions
from imgsvc.db.queries import api_keys as key_queries
from imgsvc.db.queries import batches as batch_queries
from imgsvc.domain.imaging.spec import Spec
from imgsvc.services.access.api_keys import set_media_folder
from imgsvc.services.batches.finish import Retention
from imgsvc.services.job_queue import LaneQueue
from imgsvc.services.processing.batch_hosts import BatchHosts, hosts_page
from imgsvc.services.processing.lane import Lane
from imgsvc.services.processing.lane_policy import LanePolicy
from imgsvc.services.processing.process_asset import AssetProcessor
from imgsvc.services.processing.rendition_plan import RenditionPlan, ReuseHashes


async def work(
    batch_id: str,
    number: int = 0,
    *,
    sessions: Sessions,
    queue: LaneQueue,
    processor: AssetProcessor,
    retention: Retention,
    policy: LanePolicy,
    stopping: asyncio.Event,
) -> datetime | None:
    """Process a batch in its lane `number`; return the time at which this lane must run again, if ever.

    Any number of lanes may process a batch at once, in any process: claims keep them apart.

    Raises:
        DatabaseUnavailable: other runs can claim the assets once the leases have expired.
    """
    async with sessions.read() as session:
        batch = await batch_queries.get(session, batch_id)
        key = await key_queries.get(session, batch.api_key_id) if batch else None
        first_hosts = await hosts_page(session, batch_id)
    if batch is None or key is None:
        return None
    clock, specs = processor.clock, [Spec.model_validate(spec) for spec in batch.specs]
    plan = RenditionPlan(
        api_key_id=batch.api_key_id,
        batch_id=batch_id,
        round=batch.round,
        specs=specs,
        hashes=ReuseHashes(batch.api_key_id, specs, batch.names),
        folder=key.media_folder or await set_media_folder(key.id, sessions=sessions),
        removals=key.removals,
        reuse=not batch.refresh,
        give_up_at=(batch.round_started_at or batch.created_at) + processor.retries.give_up_after,
    )
    hosts = BatchHosts(plan, limiter=processor.fetching.hosts, sessions=sessions, clock=clock)
    hosts.begin(first_hosts)
    lane = Lane(number, plan, hosts, sessions, queue, processor, retention, clock, policy, stopping)
    return await lane.run()
