"""`imgsvc check --deep`: the parts of a checkup, then every row and every file, and what to do about what is wrong."""

from datetime import timedelta

from imgsvc.adapters.storage.object_store import ObjectStorage
from imgsvc.db.engine import open_sessions
from imgsvc.doctor.check import Finding, examine
from imgsvc.errors import ImgsvcError
from imgsvc.services.clock import utc_now
from imgsvc.services.integrity.audit import MAX_EXAMPLES, Audit, run_audit
from imgsvc.services.integrity.rules import Category
from imgsvc.settings.server import Settings
from imgsvc.terminal.formatting import size

NEEDED = ("Database", "Storage")
OURS = "This is a fault of imgsvc: please report it, with what the log says of that batch."
ADVICE = {
    Category.COUNTERS: OURS,
    Category.STATES: OURS,
    Category.WEBHOOKS: OURS,
    Category.OVERDUE: "Do workers run, and reach Redis, the database and the storage? Their log says what they met.",
    Category.RENDITIONS: "Was something removed, or database and storage restored from different days? Upload again.",
    Category.LEFTOVERS: "Nothing leads there. If this storage is only for imgsvc, and this its database, remove them.",
}


async def examine_deeply(settings: Settings, *, grace: float | None = None) -> list[Finding]:
    """Look at every part, then at all that is stored; `grace` is in seconds (None: `clean_up_after`).

    Takes as long as it takes: about 10 s for 100,000 images on a local disk.
    """
    findings = await examine(settings)
    if not all(finding.ok for finding in findings if finding.part in NEEDED):
        return [*findings, Finding("Deep", False, "Not looked at: it needs the database and the storage.")]
    kept = timedelta(seconds=settings.tidy_after if grace is None else grace)
    sessions = open_sessions(settings.database)
    try:
        storage = ObjectStorage(settings.storage)
        done = await run_audit(sessions=sessions, inventory=storage, clock=utc_now, grace=kept)
    except ImgsvcError as error:
        reason = str(error.__cause__ or error).partition("\n")[0]
        return [*findings, Finding("Deep", False, f"Broken off: {reason}", "Try it again when nothing is in the way.")]
    finally:
        await sessions.aclose()
    return [*findings, *(_finding(part, done, kept) for part in Category)]


def _finding(part: Category, done: Audit, grace: timedelta) -> Finding:
    violations = done.violations[part]
    if not violations.total:
        return Finding(part, True, _well(part, done, f"{grace.total_seconds():g} s"))
    more = [f"and {violations.total - MAX_EXAMPLES:,} more"] if violations.total > MAX_EXAMPLES else []
    return Finding(part, False, "\n".join([*violations.examples, *more]), ADVICE[part])


def _well(part: Category, done: Audit, grace: str) -> str:
    counted = f"{done.batches:,} batches, {done.products:,} products, {done.assets:,} images"
    sentences = {
        Category.COUNTERS: f"{counted}: as many as there are rows.",
        Category.STATES: "The status of every batch is that of its images.",
        Category.WEBHOOKS: f"{done.deliveries:,} deliveries, {done.attempts:,} attempts: one for each end of a round.",
        Category.OVERDUE: f"Nothing has been due for more than {grace}.",
        Category.RENDITIONS: f"{done.renditions:,} of {size(done.rendition_bytes)}: all there, in the recorded size.",
        Category.LEFTOVERS: f"{done.files:,} files, none older than {grace} and without an image.",
    }
    return sentences[part]
