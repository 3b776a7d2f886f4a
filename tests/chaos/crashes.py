"""Crashes and hangs of imgsvc's own processes, Redis and the database."""

import asyncio
import signal
import sqlite3
from typing import ClassVar

import psutil

from chaos.fault import NO_ANSWER, Fault
from chaos.servers import signal_all
from support.databases import Postgres
from support.stack import until

# -- imgsvc's processes -----------------------------------------------------------------------------------------------


class SignalOne(Fault):
    """A signal to one of the processes with `word` in their command."""

    lasts = False
    word: ClassVar[str]
    number: ClassVar[int]

    async def begin(self) -> None:
        self.signalled = [self.rng.choice(await until(self.candidates))]
        signal_all(self.signalled, self.number)

    async def candidates(self) -> list[psutil.Process]:
        return self.stage.service.children(self.word)


class KillWorker(SignalOne):
    name, target, word, number = "kill -9 a worker", "worker", "imgsvc.worker", signal.SIGKILL


class StopWorker(SignalOne):
    name, target, word, number = "SIGTERM a worker", "worker", "imgsvc.worker", signal.SIGTERM


class FreezeWorker(SignalOne):
    """A worker frozen for less or more than its lease; when it wakes up, it must not undo the work of others."""

    name, target, word, number = "SIGSTOP a worker", "worker", "imgsvc.worker", signal.SIGSTOP
    lasts = True
    excuses = NO_ANSWER

    async def end(self) -> None:
        signal_all(self.signalled, signal.SIGCONT)


class KillApi(SignalOne):
    name, target, word, number = "kill -9 the API", "api", "api", signal.SIGKILL


class StopApi(SignalOne):
    name, target, word, number = "SIGTERM the API", "api", "api", signal.SIGTERM


class KillEverything(Fault):
    name, target = "kill -9 imgsvc up", "worker"

    async def begin(self) -> None:
        await self.stage.service.kill()

    async def end(self) -> None:
        self.stage.service.start()


# -- Redis ------------------------------------------------------------------------------------------------------------


class FlushRedis(Fault):
    name, target, lasts = "flush Redis", "redis", False

    async def begin(self) -> None:
        await self.stage.valkey.command("FLUSHALL")


class RestartRedis(Fault):
    """A restart of Redis, which comes back empty."""

    name, target = "restart Redis", "redis"

    async def begin(self) -> None:
        await self.stage.valkey.stop()

    async def end(self) -> None:
        await self.stage.valkey.start()


class HangRedis(Fault):
    name, target = "hang Redis", "redis"

    async def begin(self) -> None:
        self.stage.valkey.freeze()

    async def end(self) -> None:
        self.stage.valkey.thaw()


class FillRedis(Fault):
    name, target = "fill Redis' memory", "redis"

    async def begin(self) -> None:
        await self.stage.valkey.command("CONFIG", "SET", "maxmemory", "1")

    async def end(self) -> None:
        await self.stage.valkey.command("CONFIG", "SET", "maxmemory", "0")


# -- the database -----------------------------------------------------------------------------------------------------


class LockSqlite(Fault):
    """A write lock held by another process."""

    name, target, databases = "lock SQLite", "database", ("sqlite",)

    async def begin(self) -> None:
        self.connection = sqlite3.connect(
            self.stage.folder / "imgsvc.db", timeout=30, isolation_level=None, check_same_thread=False
        )
        await asyncio.to_thread(self.connection.execute, "BEGIN IMMEDIATE")

    async def end(self) -> None:
        self.connection.close()


class StopPostgres(Fault):
    """A server that ends every connection and stays down for a while."""

    name, target, databases = "restart Postgres", "database", ("postgres",)
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
    """A server that crashes, and recovers from its log when it restarts."""

    name, how = "crash Postgres", signal.SIGQUIT


class HangPostgres(StopPostgres):
    name = "hang Postgres"

    async def begin(self) -> None:
        self.frozen = self.server.frozen()
        self.frozen.__enter__()

    async def end(self) -> None:
        self.frozen.__exit__(None, None, None)
