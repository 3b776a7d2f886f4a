"""What is not to be reached: the storage, origins, webhooks."""

import os
import shutil
from typing import ClassVar

from chaos.fault import NO_ANSWER, Fault
from support import fault_proxy as proxy
from support.fault_proxy import HANG, REFUSE, Answer, Cut, FaultProxy, http

# -- images that are files ------------------------------------------------------------------------------------------


class LoseFolder(Fault):
    """A file stands where the folder was: nothing can be written or read, not even by root."""

    name, part, databases = "storage is no folder", "storage", ("sqlite",)
    excuses = frozenset({"storage_error"})

    async def begin(self) -> None:
        self.aside = self.stage.media.rename(self.stage.folder / "media.aside")
        while self._has_folder():
            self._take_what_is_new()

    async def end(self) -> None:
        self.stage.media.unlink()
        while not self._is_back():
            self._take_what_is_new()

    def _has_folder(self) -> bool:
        """Put the file there; a worker that writes at that very moment has made the folder again."""
        try:
            self.stage.media.touch(exist_ok=False)
        except FileExistsError:
            return True
        return False

    def _is_back(self) -> bool:
        try:
            self.aside.rename(self.stage.media)
        except OSError:  # a worker has made the folder again, and something in it
            return False
        return True

    def _take_what_is_new(self) -> None:
        new = self.stage.media.rename(self.stage.folder / "media.new")
        shutil.copytree(new, self.aside, copy_function=os.replace, dirs_exist_ok=True)
        shutil.rmtree(new)


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
    """In the middle of the larger images."""

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
