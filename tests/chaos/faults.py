"""The list of all faults."""

from chaos import crashes, outages
from chaos.fault import Fault
from chaos.stage import Database

FAULTS: tuple[type[Fault], ...] = (
    crashes.KillWorker,
    crashes.StopWorker,
    crashes.FreezeWorker,
    crashes.KillApi,
    crashes.StopApi,
    crashes.KillEverything,
    crashes.FlushRedis,
    crashes.RestartRedis,
    crashes.HangRedis,
    crashes.FillRedis,
    crashes.LockSqlite,
    crashes.StopPostgres,
    crashes.CrashPostgres,
    crashes.HangPostgres,
    outages.LoseFolder,
    outages.OriginRefuses,
    outages.OriginHangs,
    outages.OriginBreaksOff,
    outages.WebhookRefuses,
    outages.WebhookHangs,
    outages.WebhookFails,
    outages.WebhookBreaksOff,
    outages.StoreFails,
    outages.StoreHangs,
    outages.StoreBreaksOff,
)


def faults_for(database: Database, word: str = "") -> list[type[Fault]]:
    """Return the faults for `database` with `word` in their name."""
    return [fault for fault in FAULTS if database in fault.databases and word in fault.name]
