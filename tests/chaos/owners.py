"""The API keys of the customers."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from imgsvc.db.engine import open_sessions
from imgsvc.services.access.api_keys import create_key, webhook_secret
from imgsvc.services.clock import utc_now

CUSTOMERS: Mapping[str, int] = {"big": 6, "small": 1, "third": 1}
"""The concurrent customers of each API key."""


@dataclass(frozen=True, slots=True)
class Owner:
    """An API key, with the secret of its webhooks."""

    name: str
    key_id: str
    token: str
    secret: str


async def create_owners(database_url: str) -> Sequence[Owner]:
    """Create the API keys of all customers."""
    sessions = open_sessions(database_url)
    owners = []
    for name in CUSTOMERS:
        key_id, token = await create_key(name, sessions=sessions, clock=utc_now)
        owners.append(Owner(name, key_id, token, await webhook_secret(sessions=sessions, key_id=key_id)))
    await sessions.aclose()
    return owners
