"""The HTTP application."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI
from fastapi_offline import FastAPIOffline

from imgsvc import __version__
from imgsvc.api import problems
from imgsvc.api.body_limit import BodyLimit
from imgsvc.api.openapi import DESCRIPTION, TAGS, complete_openapi
from imgsvc.api.request_ids import RequestIds
from imgsvc.api.routes import batches, endings, health, media, reports, webhooks
from imgsvc.api.watcher import Watcher
from imgsvc.bootstrap import open_resources
from imgsvc.config import Settings


def create_app(settings: Settings) -> FastAPI:
    """The API on the parts that `settings` name; they are opened when the server starts."""

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with open_resources(settings) as resources:
            app.state.resources = resources
            app.state.watcher = Watcher(resources.sessions)
            watching = asyncio.create_task(app.state.watcher.run())
            yield
            watching.cancel()
            await asyncio.gather(watching, return_exceptions=True)

    app = FastAPIOffline(
        title="imgsvc",
        version=__version__,
        summary="Product catalogues in, compressed images out.",
        description=DESCRIPTION,
        openapi_tags=TAGS,
        lifespan=lifespan,
        redoc_url=None,
        swagger_ui_parameters={"defaultModelsExpandDepth": 0, "tryItOutEnabled": True, "displayRequestDuration": True},
    )
    app.state.settings = settings
    app.add_middleware(BodyLimit, most=settings.max_upload_bytes)
    app.add_middleware(RequestIds)
    problems.install(app)
    for router in (
        batches.router,
        reports.router,
        endings.router,
        webhooks.router,
        media.router,
        health.router,
    ):
        app.include_router(router)
    complete_openapi(app)
    return app
