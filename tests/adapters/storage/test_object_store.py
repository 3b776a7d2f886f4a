"""Object stores, beyond the contract of every storage: Google's, which refuses to remove a missing key."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from aiohttp import web

from imgsvc.adapters.storage.open_storage import open_storage

SHOE, BOOT, HAT = "bat_1/0-shoe-0a1b2c3d.jpg", "bat_1/1-boot-0a1b2c3d.png", "bat_11/0-hat-0a1b2c3d.jpg"


@asynccontextmanager
async def google_cloud_storage(keys: set[str]) -> AsyncIterator[str]:
    """Serve the removal of `keys` as Google Cloud Storage does; yields the base of its URLs."""

    async def delete(request: web.Request) -> web.Response:
        if (key := request.match_info["key"]) not in keys:
            raise web.HTTPNotFound
        keys.remove(key)
        return web.Response(status=204)

    app = web.Application()
    app.add_routes([web.delete("/images/{key:.*}", delete)])
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    await runner.cleanup()


async def test_a_store_that_refuses_missing_keys_still_removes_the_rest(monkeypatch: pytest.MonkeyPatch) -> None:
    keys = {SHOE, BOOT, HAT}
    async with google_cloud_storage(keys) as url:
        no_login = '"client_email": "", "private_key": "", "private_key_id": ""'
        account = f'{{"gcs_base_url": "{url}", "disable_oauth": true, {no_login}}}'
        monkeypatch.setenv("GOOGLE_SERVICE_ACCOUNT_KEY", account)
        await open_storage("gs://images").remove([SHOE, "bat_1/gone.jpg", *[f"bat_3/{n}" for n in range(80)], HAT])
    assert keys == {BOOT}
