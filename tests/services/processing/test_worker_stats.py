"""The outcomes of a worker process are counted by kind."""

from dataclasses import replace
from datetime import UTC, datetime

from imgsvc.db.queries.leases import Claimed
from imgsvc.errors import HttpStatusError, WorkerCrash
from imgsvc.services.processing.outcomes import Failed, Postponed
from imgsvc.services.processing.worker_stats import WorkerStats
from support.verbs import succeeded

ASSET = Claimed(0, "https://shop.example/a.jpg", "shoe", 0, 0)


def test_outcomes_count_by_kind_and_failures_by_code() -> None:
    stats = WorkerStats()
    done = succeeded("bat_1", ASSET)
    reused = replace(done, renditions=({**done.renditions[0], "action": "reused"},))
    for outcome in (
        *(done, done, reused),
        *(Failed(ASSET, 3, HttpStatusError(404)), Failed(ASSET, 0, WorkerCrash())),
        Postponed(ASSET, 1, datetime.now(UTC)),
    ):
        stats.count(outcome)
    assert stats.counts == {
        "succeeded": 2,
        "reused": 1,
        "failed:http_404": 1,
        "failed:worker_crash": 1,
        "postponed": 1,
        "input_bytes": 300,
        "output_bytes": 120,
    }
