"""What dies among our own parts: processes, Redis, the database."""

import asyncio
import signal
import sqlite3
from typing import ClassVar

import psutil

from chaos.fault import NO_ANSWER, Fault
from chaos.parts import signal_all
from support.databases import Postgres
from support.stack import until

# -- our own processes ------------------------------------------------------------------------------------------------


class SignalOne(Fault):
    """Sends `number` to one of the processes with `word` in their command."""

    lasts = False
    word: ClassVar[str]
    number: ClassVar[int]

    async def begin(self) -> None:
        self.hit = [self.rng.choice(await until(self.there))]
        signal_all(self.hit, self.number)

    async def there(self) -> list[psutil.Process]:
        return self.stage.service.children(self.word)


class KillWorker(SignalOne):
    name, part, word, number = "kill -9 a worker", "worker", "imgsvc.worker", signal.SIGKILL


class StopWorker(SignalOne):
    name, part, word, number = "SIGTERM a worker", "worker", "imgsvc.worker", signal.SIGTERM


class FreezeWorker(SignalOne):
    """For less or for more than its lease; then it wakes up and must not harm what others did meanwhile."""

    name, part, word, number = "SIGSTOP a worker", "worker", "imgsvc.worker", signal.SIGSTOP
    lasts = True
    excuses = NO_ANSWER

    async def end(self) -> None:
        signal_all(self.hit, signal.SIGCONT)


class KillApi(SignalOne):
    name, part, word, number = "kill -9 the API", "api", "api", signal.SIGKILL


class StopApi(SignalOne):
    name, part, word, number = "SIGTERM the API", "api", "api", signal.SIGTERM


class KillEverything(Fault):
    name, part = "kill -9 imgsvc up", "worker"

    async def begin(self) -> None:
        await self.stage.service.kill()

    async def end(self) -> None:
        self.stage.service.start()


# -- Redis ------------------------------------------------------------------------------------------------------------


class FlushRedis(Fault):
    name, part, lasts = "flush Redis", "redis", False

    async def begin(self) -> None:
        await self.stage.valkey.command("FLUSHALL")


class RestartRedis(Fault):
    """It comes back empty."""

    name, part = "restart Redis", "redis"

    async def begin(self) -> None:
        await self.stage.valkey.stop()

    async def end(self) -> None:
        await self.stage.valkey.start()


class HangRedis(Fault):
    name, part = "hang Redis", "redis"

    async def begin(self) -> None:
        self.stage.valkey.freeze()

    async def end(self) -> None:
        self.stage.valkey.thaw()


class FillRedis(Fault):
    name, part = "fill Redis' memory", "redis"

    async def begin(self) -> None:
        await self.stage.valkey.command("CONFIG", "SET", "maxmemory", "1")

    async def end(self) -> None:
        await self.stage.valkey.command("CONFIG", "SET", "maxmemory", "0")


# -- the database -----------------------------------------------------------------------------------------------------


class LockSqlite(Fault):
    """Another process holds the write lock."""

    name, part, databases = "lock SQLite", "database", ("sqlite",)

    async def begin(self) -> None:
        self.connection = sqlite3.connect(
            self.stage.folder / "imgsvc.db", timeout=30, isolation_level=None, check_same_thread=False
        )
        await asyncio.to_thread(self.connection.execute, "BEGIN IMMEDIATE")

    async def end(self) -> None:
        self.connection.close()


class StopPostgres(Fault):
    """Ends every connection and is away for a while."""

    name, part, databases = "restart Postgres", "database", ("postgres",)
    how: ClassVar[signal.Signals] = signal.SIGINT

    async def begin(self) -> None:
        await asyncio.to_thread(self.server.stop, self.how)

    async def end(self) -> None:
        await asyncio.to_thread(self.server.start)

    @property
    def server(self) -> Postgres:
        assert self.stage.postgres is not None
        return self.stage.postgres


class CrashPostgres(StopPostgres):
    """It recovers from its log when it comes back."""

    name, how = "crash Postgres", signal.SIGQUIT


class HangPostgres(StopPostgres):
    name = "hang Postgres"

    async def begin(self) -> None:
        self.frozen = self.server.frozen()
        self.frozen.__enter__()

    async def end(self) -> None:
        self.frozen.__exit__(None, None, None)
