"""`imgsvc keys`: who may call, and what webhooks are signed with."""

from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Annotated, TypeVar

import typer

from imgsvc.bootstrap import open_database
from imgsvc.cli.console import say
from imgsvc.cli.service import run, settings_of_a_service
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

app = typer.Typer(no_args_is_help=True, rich_markup_mode="markdown", help="API keys and webhook secrets.")
T = TypeVar("T")

KeyId = Annotated[str, typer.Argument(help="As `imgsvc keys list` shows it.")]
Grace = Annotated[float, typer.Option(min=0, metavar="SECONDS", help="How long the former one works on.")]
DAY = 24 * 3600


@app.command()
def create(name: Annotated[str, typer.Argument(help="Whose it is; for you to read.", metavar="NAME")]) -> None:
    """Make an API key and print its token, once; from the first key on the API refuses whoever has none."""
    settings = settings_of_a_service()
    run(upgrade_database(settings))
    key_id, token = _with_database(settings, lambda sessions: create_key(name, sessions=sessions, clock=utc_now))
    say(f"Made {key_id} for {name}. This is its token; nobody can show it again:")
    say(token)
    if settings.auth == "none":
        say("IMGSVC_AUTH is none: whoever reaches the API may use it, and no key is asked for.")
    say("Programs send it as `Authorization: Bearer …`, `imgsvc submit` takes it from IMGSVC_API_KEY.")


@app.command("list")
def show_keys() -> None:
    """List the API keys, revoked ones too."""
    rows = _with_database(settings_of_a_service(), lambda sessions: list_keys(sessions=sessions))
    if not rows:
        say("There are no API keys: whoever reaches the API on this machine may use it.")
        return
    for row in rows:
        say(f"{row.id}  {row.created_at:%Y-%m-%d}  {_state(row)}  {row.name}")


@app.command()
def rotate(
    key_id: KeyId,
    grace: Grace = DAY,
    webhook_secret: Annotated[
        bool, typer.Option("--webhook-secret", help="Not the token, but the secret that its webhooks are signed with.")
    ] = False,
) -> None:
    """Print a new token for a key; the present one works on for a day, or as long as --grace says.

    With --webhook-secret webhooks carry two signatures meanwhile. `key_local` is what is made without API keys.
    """
    change = rotate_webhook_secret if webhook_secret else rotate_key
    settings, wait = settings_of_a_service(), timedelta(seconds=grace)
    say(_with_database(settings, lambda sessions: change(key_id, grace=wait, sessions=sessions, clock=utc_now)))


@app.command()
def revoke(key_id: KeyId) -> None:
    """Refuse a key from now on; its batches end all the same."""
    settings = settings_of_a_service()
    _with_database(settings, lambda sessions: revoke_key(key_id, sessions=sessions, clock=utc_now))
    say(f"{key_id} is revoked.")


@app.command()
def secret(
    key_id: Annotated[str, typer.Argument(help="A key's, if not what is made without one.")] = LOCAL_KEY,
) -> None:
    """Print the secret that webhooks are signed with (whsec_…)."""
    settings = settings_of_a_service()
    given = settings.webhook_secret if key_id == LOCAL_KEY else None
    if given:
        say(given.get_secret_value())
    else:
        say(_with_database(settings, lambda sessions: webhook_secret(sessions=sessions, key_id=key_id)))


def _state(row: ApiKeySummary) -> str:
    if row.revoked_at:
        return f"revoked {row.revoked_at:%Y-%m-%d}"
    if row.former_until and row.former_until > utc_now():
        return f"active; its former token works until {row.former_until:%Y-%m-%d %H:%M} UTC"
    return "active"


def _with_database(settings: Settings, work: Callable[[Sessions], Awaitable[T]]) -> T:
    async def done() -> T:
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

    return run(done())
