"""`imgsvc keys`: API keys and webhook secrets."""

from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Annotated, TypeVar

import typer

from imgsvc.bootstrap import open_database
from imgsvc.cli.console import print_line
from imgsvc.cli.service_settings import read_service_settings, run
from imgsvc.cli.stack import upgrade_database
from imgsvc.db import migrations
from imgsvc.db.engine import Sessions
from imgsvc.db.queries.api_keys import LOCAL_KEY
from imgsvc.errors import DatabaseUnavailable, StartupError
from imgsvc.services.access.api_keys import (
    ApiKeySummary,
    create_key,
    list_keys,
    revoke_key,
    rotate_key,
    rotate_webhook_secret,
    webhook_secret,
)
from imgsvc.services.clock import utc_now
from imgsvc.settings.server import Settings

app = typer.Typer(no_args_is_help=True, rich_markup_mode="markdown", help="Manage API keys and webhook secrets.")
T = TypeVar("T")

KeyId = Annotated[str, typer.Argument(help="Key id, from `imgsvc keys list`.")]
Grace = Annotated[float, typer.Option(min=0, metavar="SECONDS", help="How long the previous one stays valid.")]
DAY = 24 * 3600


@app.command()
def create(name: Annotated[str, typer.Argument(help="A name for your own reference.", metavar="NAME")]) -> None:
    """Create an API key and print its token once. From the first key on, the API requires one."""
    settings = read_service_settings()
    run(upgrade_database(settings))
    key_id, token = _with_database(settings, lambda sessions: create_key(name, sessions=sessions, clock=utc_now))
    print_line(f"Created {key_id} for {name}. This is its token; it cannot be shown again:")
    print_line(token)
    if settings.auth == "none":
        print_line("IMGSVC_AUTH is none: authentication is off, so the API requires no key.")
    print_line("Programs send it as `Authorization: Bearer …`; `imgsvc submit` reads it from IMGSVC_API_KEY.")


@app.command("list")
def show_keys() -> None:
    """List the API keys, including revoked ones."""
    rows = _with_database(read_service_settings(), lambda sessions: list_keys(sessions=sessions))
    if not rows:
        print_line("There are no API keys: every program on this machine may use the API.")
        return
    for row in rows:
        print_line(f"{row.id}  {row.created_at:%Y-%m-%d}  {_state(row)}  {row.name}")


@app.command()
def rotate(
    key_id: KeyId,
    grace: Grace = DAY,
    webhook_secret: Annotated[
        bool, typer.Option("--webhook-secret", help="Rotate the secret that signs its webhooks instead of the token.")
    ] = False,
) -> None:
    """Print a new token for a key; the current one stays valid for a day, or for --grace seconds.

    With --webhook-secret, webhooks carry two signatures during that time. `key_local` owns batches uploaded without an
    API key.
    """
    change = rotate_webhook_secret if webhook_secret else rotate_key
    settings, wait = read_service_settings(), timedelta(seconds=grace)
    print_line(_with_database(settings, lambda sessions: change(key_id, grace=wait, sessions=sessions, clock=utc_now)))


@app.command()
def revoke(key_id: KeyId) -> None:
    """Revoke a key; its running batches continue."""
    settings = read_service_settings()
    _with_database(settings, lambda sessions: revoke_key(key_id, sessions=sessions, clock=utc_now))
    print_line(f"{key_id} is revoked.")


@app.command()
def secret(
    key_id: Annotated[str, typer.Argument(help="Key id; the default is for batches without an API key.")] = LOCAL_KEY,
) -> None:
    """Print the secret that webhooks are signed with (whsec_…)."""
    settings = read_service_settings()
    configured = settings.webhook_secret if key_id == LOCAL_KEY else None
    if configured:
        print_line(configured.get_secret_value())
    else:
        print_line(_with_database(settings, lambda sessions: webhook_secret(sessions=sessions, key_id=key_id)))


def _state(row: ApiKeySummary) -> str:
    if row.revoked_at:
        return f"revoked {row.revoked_at:%Y-%m-%d}"
    if row.former_until and row.former_until > utc_now():
        return f"active; its previous token is valid until {row.former_until:%Y-%m-%d %H:%M} UTC"
    return "active"


def _with_database(settings: Settings, work: Callable[[Sessions], Awaitable[T]]) -> T:
    async def call() -> T:
        sessions = open_database(settings)
        try:
            await migrations.check(sessions)
            return await work(sessions)
        except migrations.SchemaBehind:
            raise
        except DatabaseUnavailable as error:
            name = sessions.engine.url.render_as_string()
            raise StartupError(f"The database {name} cannot be used: {error}.") from error
        finally:
            await sessions.aclose()

    return run(call())
