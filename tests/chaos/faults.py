"""The list of all faults."""

from chaos import deaths, outages
from chaos.fault import Fault
from chaos.stage import Database

FAULTS: tuple[type[Fault], ...] = (
    deaths.KillWorker,
    deaths.StopWorker,
    deaths.FreezeWorker,
    deaths.KillApi,
    deaths.StopApi,
    deaths.KillEverything,
    deaths.FlushRedis,
    deaths.RestartRedis,
    deaths.HangRedis,
    deaths.FillRedis,
    deaths.LockSqlite,
    deaths.StopPostgres,
    deaths.CrashPostgres,
    deaths.HangPostgres,
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
