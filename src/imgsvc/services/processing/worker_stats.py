"""The totals of a worker process since it started."""

from collections import Counter

from imgsvc.services.processing.outcomes import Failed, Outcome, Postponed, Succeeded

SUCCEEDED, REUSED, POSTPONED, FAILED = "succeeded", "reused", "postponed", "failed:"
INPUT_BYTES, OUTPUT_BYTES = "input_bytes", "output_bytes"


class WorkerStats:
    """Counts that only grow. A failure counts under its code; a rendition reused from an earlier batch, as `reused`."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()

    def count(self, outcome: Outcome) -> None:
        match outcome:
            case Succeeded():
                is_reused = outcome.renditions and outcome.renditions[0]["action"] == REUSED
                self.counts[REUSED if is_reused else SUCCEEDED] += 1
                self.counts[INPUT_BYTES] += outcome.input_bytes
                self.counts[OUTPUT_BYTES] += outcome.output_bytes
            case Failed():
                self.counts[FAILED + outcome.error.code] += 1
            case Postponed():
                self.counts[POSTPONED] += 1
