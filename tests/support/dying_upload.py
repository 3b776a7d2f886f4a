"""Store an upload as the API does, and end by SIGKILL just before the lanes are woken.

Arguments: the database's URL, an image URL.
"""

import asyncio
import os
import signal
import sys
from datetime import datetime, timedelta

from imgsvc.bootstrap import manifest_limits
from imgsvc.db.engine import open_sessions
from imgsvc.db.queries.api_keys import LOCAL_KEY
from imgsvc.services.access.links import Links
from imgsvc.services.batches.finish import Retention
from imgsvc.services.clock import utc_now
from imgsvc.services.intake.submit import submit
from imgsvc.services.intake.upload import Upload
from imgsvc.settings.server import Settings
from support.batches import RecordingQueue, manifest


class DeadlyQueue(RecordingQueue):
    async def wake_lane(self, batch_id: str, api_key_id: str, *, lane: int = 0, at: datetime | None = None) -> None:
        os.kill(os.getpid(), signal.SIGKILL)


async def main(database: str, url: str) -> None:
    await submit(
        Upload(manifest([url])),
        api_key_id=LOCAL_KEY,
        sessions=open_sessions(database),
        queue=DeadlyQueue(),
        retention=Retention(Links(""), None, timedelta(hours=1)),
        clock=utc_now,
        limits=manifest_limits(Settings()),
    )


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
