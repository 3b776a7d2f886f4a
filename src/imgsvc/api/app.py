"""The HTTP application."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI
from fastapi_offline import FastAPIOffline
from prometheus_client import CollectorRegistry

from imgsvc import __version__
from imgsvc.adapters.http.download import open_downloader
from imgsvc.adapters.sandbox.tables import open_tables
from imgsvc.api.auth import open_authenticator
from imgsvc.api.live.watcher import Watcher
from imgsvc.api.metrics import RequestTimes
from imgsvc.api.middleware.body_limit import BodyLimit
from imgsvc.api.middleware.browser_headers import BrowserHeaders
from imgsvc.api.middleware.request_ids import RequestIds
from imgsvc.api.openapi.document import DESCRIPTION, TAGS, complete_openapi
from imgsvc.api.problems import responses
from imgsvc.api.problems.documented import documented
from imgsvc.api.routes import (
    batches,
    changes,
    checks,
    events,
    health,
    lifecycle,
    listings,
    media,
    metrics,
    results,
    sample_csv,
    webhooks,
)
from imgsvc.api.uploads.receive import UploadBudget
from imgsvc.bootstrap import open_resources
from imgsvc.services.intake.convert_file import FileConverter
from imgsvc.services.intake.fetch_catalogue import CatalogueFetcher
from imgsvc.services.results.report_file import ReportFiles
from imgsvc.settings.server import Settings


def create_app(settings: Settings) -> FastAPI:
    """Build the API for `settings`; its resources are opened when the server starts."""

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with (
            open_resources(settings) as resources,
            open_tables(memory=settings.quarantine_bytes) as tables,
            open_downloader(settings) as downloader,
        ):
            app.state.resources = resources
            app.state.converter, app.state.report_files = FileConverter(tables), ReportFiles(tables)
            app.state.catalogue_fetcher = CatalogueFetcher(downloader)
            app.state.authenticator = open_authenticator(settings, sessions=resources.sessions, clock=resources.clock)
            app.state.budget = UploadBudget(settings.max_upload_bytes)
            app.state.watcher = Watcher(resources.sessions)
            app.state.readiness = health.ReadinessChecks()
            watching = asyncio.create_task(app.state.watcher.run())
            yield
            watching.cancel()
            await asyncio.gather(watching, return_exceptions=True)
            await app.state.readiness.aclose()

    app = FastAPIOffline(
        title="imgsvc",
        version=__version__,
        summary="Product catalogues in, compressed images out.",
        description=DESCRIPTION,
        openapi_tags=TAGS,
        lifespan=lifespan,
        redoc_url=None,
        redirect_slashes=False,  # the redirect would be built from an unchecked Host header
        swagger_ui_parameters={"defaultModelsExpandDepth": 0, "tryItOutEnabled": True, "displayRequestDuration": True},
    )
    app.state.settings = settings
    app.add_middleware(BodyLimit, max_upload_bytes=settings.max_upload_bytes)
    app.add_middleware(BrowserHeaders)
    app.add_middleware(RequestIds)
    app.state.request_times = CollectorRegistry()
    app.add_middleware(RequestTimes, registry=app.state.request_times)
    responses.install(app)
    protected = (
        batches.router, listings.router, events.router, results.router, changes.router, checks.router,
        lifecycle.router, webhooks.router,
    )  # fmt: skip
    for router in protected:
        app.include_router(router, responses=documented(401, 403))
    # No API key: the link to an image is its secret, and metrics have a check of their own.
    public = (media.router, health.router, metrics.router, sample_csv.router)
    for router in public:
        app.include_router(router)
    app.state.routes = [route for router in (*protected, *public) for route in router.routes]
    complete_openapi(app)
    return app
