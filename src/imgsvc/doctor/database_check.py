"""Checks the database: its schema, and its connections."""

import asyncio
from pathlib import Path

from sqlalchemy import make_url

from imgsvc.db import migrations
from imgsvc.db.engine import open_sessions
from imgsvc.db.postgres import allowed_connections
from imgsvc.doctor.finding import Finding
from imgsvc.errors import ImgsvcError
from imgsvc.settings.server import Settings


async def check_database(settings: Settings, *, processes: int) -> Finding:
    """Check that the database responds, has the required schema, and enough connections for `processes`."""
    url = make_url(settings.database)
    is_file = url.get_backend_name() == "sqlite"
    name = url.database if is_file and url.database else url.render_as_string(hide_password=True)
    if is_file and not await asyncio.to_thread(Path(name).exists):
        advice = "Run `imgsvc db upgrade`, or `imgsvc up`."
        return Finding("Database", False, f"There is no database at {name} yet.", advice)
    sessions = open_sessions(settings.database)
    try:
        await migrations.check(sessions)
        allowed = None if is_file else await allowed_connections(sessions.engine)
    except migrations.SchemaBehind as error:
        return Finding("Database", False, f"{name}: {error}")
    except ImgsvcError as error:
        return Finding("Database", False, f"{name}: {error}", "Is it running, and is IMGSVC_DATABASE_URL correct?")
    finally:
        await sessions.aclose()
    each = settings.database_connections
    if allowed is not None and processes * each > allowed:
        message = f"{name} allows {allowed} connections; {processes} processes open up to {each} each."
        advice = "Raise max_connections of Postgres, lower IMGSVC_DATABASE_CONNECTIONS, or put PgBouncer in front."
        return Finding("Database", False, message, advice)
    return Finding("Database", True, f"{name} responds and has the required schema.")
