"""Outages of servers outside imgsvc: the storage, origins, webhooks."""

import os
import shutil
from typing import ClassVar

from chaos.fault import NO_ANSWER, Fault
from support import fault_proxy as proxy
from support.fault_proxy import HANG, REFUSE, Answer, Cut, FaultProxy, http

# -- local storage ----------------------------------------------------------------------------------------------------


class LoseFolder(Fault):
    """A file in place of the folder, so that nothing can be written or read, not even by root."""

    name, target, databases = "storage is no folder", "storage", ("sqlite",)
    excuses = frozenset({"storage_error"})

    async def begin(self) -> None:
        self.aside = self.stage.media.rename(self.stage.folder / "media.aside")
        while not self._create_file():
            self._move_new_files()

    async def end(self) -> None:
        self.stage.media.unlink()
        while not self._restore_folder():
            self._move_new_files()

    def _create_file(self) -> bool:
        """Create the file; return False if a worker that is storing an image has created the folder again."""
        try:
            self.stage.media.touch(exist_ok=False)
        except FileExistsError:
            return False
        return True

    def _restore_folder(self) -> bool:
        try:
            self.aside.rename(self.stage.media)
        except OSError:  # a worker has created the folder again, with a file in it
            return False
        return True

    def _move_new_files(self) -> None:
        new = self.stage.media.rename(self.stage.folder / "media.new")
        shutil.copytree(new, self.aside, copy_function=os.replace, dirs_exist_ok=True)
        shutil.rmtree(new)


# -- proxies to the servers -------------------------------------------------------------------------------------------


class ProxyFault(Fault):
    """A fault of the proxy before a server that works."""

    failure: ClassVar[proxy.Fault]

    async def begin(self) -> None:
        await self.proxy.misbehave(self.failure)

    async def end(self) -> None:
        await self.proxy.behave()

    @property
    def proxy(self) -> FaultProxy:
        return self.stage.proxies[self.target]


class OriginRefuses(ProxyFault):
    name, target, failure, excuses = "origin refuses", "origin", REFUSE, NO_ANSWER


class OriginHangs(ProxyFault):
    name, target, failure, excuses = "origin hangs", "origin", HANG, NO_ANSWER


class OriginBreaksOff(ProxyFault):
    """A connection that breaks in the middle of larger images."""

    name, target, failure, excuses = "origin breaks off", "origin", Cut(down=30_000), NO_ANSWER


class WebhookRefuses(ProxyFault):
    name, target, failure = "webhook refuses", "webhook", REFUSE


class WebhookHangs(ProxyFault):
    name, target, failure = "webhook hangs", "webhook", HANG


class WebhookFails(ProxyFault):
    name, target, failure = "webhook answers 500", "webhook", Answer(http(500))


class WebhookBreaksOff(ProxyFault):
    """A connection that breaks after the message has arrived and before its answer."""

    name, target, failure = "webhook breaks off", "webhook", Cut(down=0)


class StoreFault(ProxyFault):
    target, databases, excuses = "storage", ("postgres",), frozenset({"storage_error"})


class StoreFails(StoreFault):
    name, failure = "storage answers 500", Answer(http(500))


class StoreHangs(StoreFault):
    name, failure = "storage hangs", HANG


class StoreBreaksOff(StoreFault):
    """A connection that breaks in the middle of an upload to the storage."""

    name, failure = "storage breaks off", Cut(up=2_000)
