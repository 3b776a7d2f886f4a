"""Jobs as they are stored in Redis: their names, ids and data."""

import json
from typing import Any, NamedTuple

from arq.jobs import serialize_job

WORK = "work"
DELIVER = "deliver"
SWEEP_LANES = "sweep-lanes"
SWEEP_DELIVERIES = "sweep-deliveries"
SWEEP_CLEAN_UPS = "sweep-clean-ups"
CLEAN_UP = "tidy"
CHANGE = "change"


def serialize(job: dict[str, Any]) -> bytes:
    """Return the job as JSON; with pickle, anyone who can write to Redis could run code here."""
    return json.dumps(job, default=repr).encode()  # `default`: arq stores exceptions as results


def deserialize(data: bytes) -> dict[str, Any]:
    job: dict[str, Any] = json.loads(data)
    return job


class Job(NamedTuple):
    """A job to enqueue."""

    id: str
    function: str
    arguments: tuple[str | int, ...]

    def serialize(self, now_ms: int) -> bytes:
        return serialize_job(self.function, self.arguments, {}, None, now_ms, serializer=serialize)


def lane_job(batch_id: str, api_key_id: str, lane: int) -> Job:
    """Return the job of a lane. Its id begins with the API key, which the turns of the queue are between."""
    return Job(f"{api_key_id}:{batch_id}:{lane}", WORK, (batch_id, api_key_id, lane))
