"""What is not to be reached: the storage, origins, webhooks."""

import asyncio
import os
import shutil
from contextlib import suppress
from itertools import count
from typing import ClassVar

import fault_proxy as proxy
from chaos.fault import NO_ANSWER, Fault
from fault_proxy import HANG, REFUSE, Answer, Cut, FaultProxy, http

# -- pictures that are files ------------------------------------------------------------------------------------------


class LoseFolder(Fault):
    """A file stands where the folder was: nothing can be written or read, not even by root."""

    name, part, databases = "storage is no folder", "storage", ("sqlite",)
    excuses = frozenset({"storage_error"})

    async def begin(self) -> None:
        self.aside = self.stage.folder / "media.aside"
        self.aside.mkdir()
        for number in count():
            self.stage.media.rename(self.aside / str(number))
            with suppress(FileExistsError):  # a worker that writes at this very moment makes the folder again
                self.stage.media.touch(exist_ok=False)
                return

    async def end(self) -> None:
        await asyncio.to_thread(self._put_back)

    def _put_back(self) -> None:
        """Beside what workers write meanwhile."""
        self.stage.media.unlink()
        for files in self.aside.iterdir():
            shutil.copytree(files, self.stage.media, copy_function=_link, dirs_exist_ok=True)
        shutil.rmtree(self.aside)


def _link(file: str, to: str) -> None:
    with suppress(FileExistsError):
        os.link(file, to)


# -- the ways to the servers outside ----------------------------------------------------------------------------------


class OnTheWay(Fault):
    """The server is well, but not reached."""

    trouble: ClassVar[proxy.Fault]

    async def begin(self) -> None:
        await self.way.misbehave(self.trouble)

    async def end(self) -> None:
        await self.way.behave()

    @property
    def way(self) -> FaultProxy:
        return self.stage.ways[self.part]


class OriginRefuses(OnTheWay):
    name, part, trouble, excuses = "origin refuses", "origin", REFUSE, NO_ANSWER


class OriginHangs(OnTheWay):
    name, part, trouble, excuses = "origin hangs", "origin", HANG, NO_ANSWER


class OriginBreaksOff(OnTheWay):
    """In the middle of the larger pictures."""

    name, part, trouble, excuses = "origin breaks off", "origin", Cut(down=30_000), NO_ANSWER


class WebhookRefuses(OnTheWay):
    name, part, trouble = "webhook refuses", "webhook", REFUSE


class WebhookHangs(OnTheWay):
    name, part, trouble = "webhook hangs", "webhook", HANG


class WebhookFails(OnTheWay):
    name, part, trouble = "webhook answers 500", "webhook", Answer(http(500))


class WebhookBreaksOff(OnTheWay):
    """The message arrives, its answer does not."""

    name, part, trouble = "webhook breaks off", "webhook", Cut(down=0)


class StoreFault(OnTheWay):
    part, databases, excuses = "storage", ("postgres",), frozenset({"storage_error"})


class StoreFails(StoreFault):
    name, trouble = "storage answers 500", Answer(http(500))


class StoreHangs(StoreFault):
    name, trouble = "storage hangs", HANG


class StoreBreaksOff(StoreFault):
    """In the middle of what is stored."""

    name, trouble = "storage breaks off", Cut(up=2_000)
