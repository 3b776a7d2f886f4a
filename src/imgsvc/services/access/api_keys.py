"""API keys, and the secrets that sign webhooks and links: create, list, rotate, revoke."""

import base64
import secrets
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlmodel.ext.asyncio.session import AsyncSession

from imgsvc.db.engine import Sessions
from imgsvc.db.queries import api_keys as queries
from imgsvc.db.queries import batches
from imgsvc.db.queries.api_keys import LOCAL_KEY
from imgsvc.db.tables import ApiKey
from imgsvc.domain.api_keys import hash_token, new_token
from imgsvc.domain.ids import new_id
from imgsvc.domain.media_keys import new_media_folder
from imgsvc.domain.signed_urls import is_valid_link
from imgsvc.domain.webhooks import valid_secrets
from imgsvc.errors import NotFound, Unauthorized
from imgsvc.services.access.links import report_path
from imgsvc.services.clock import Clock


@dataclass(frozen=True, slots=True)
class ApiKeySummary:
    """The public fields of a key; `former_until`: when the previous token stops working."""

    id: str
    name: str
    created_at: datetime
    revoked_at: datetime | None
    former_until: datetime | None


async def create_key(name: str, *, sessions: Sessions, clock: Clock) -> tuple[str, str]:
    """Create a key; return its id and its token, which is not stored and cannot be shown again."""
    now = clock()
    key_id = new_id("key", now)
    token = new_token(key_id)
    row = ApiKey(
        id=key_id,
        name=name,
        secret_hash=hash_token(token),
        webhook_secrets=_with_new_secret([], now),
        created_at=now,
        media_folder=new_media_folder(),
    )
    async with sessions.write() as session:
        session.add(row)
    return key_id, token


async def list_keys(*, sessions: Sessions) -> list[ApiKeySummary]:
    """Return all created keys, including revoked ones, oldest first."""
    async with sessions.read() as session:
        rows = await queries.list_created(session)
    return [ApiKeySummary(row.id, row.name, row.created_at, row.revoked_at, row.former_until) for row in rows]


async def set_media_folder(key_id: str, *, sessions: Sessions) -> str:
    """Return the folder of a key's images; give it one if it was created by an earlier version."""
    async with sessions.write() as session:
        row = await queries.lock(session, key_id)
        if row is None:
            raise LookupError(f"{key_id} disappeared while it had a batch")
        row.media_folder = row.media_folder or new_media_folder()
        session.add(row)
        return row.media_folder


async def rotate_key(key_id: str, *, grace: timedelta, sessions: Sessions, clock: Clock) -> str:
    """Return a new token for a key; the current one works until `grace` is over, an older one stops working now.

    Raises:
        NotFound: no such key, or it is revoked.
    """
    token, now = new_token(key_id), clock()
    async with sessions.write() as session:
        row = _usable(await queries.lock(session, key_id), key_id)
        if row.secret_hash is None:
            raise NotFound(f"{key_id} owns everything created without an API key; it has no token.")
        row.former_hash, row.former_until = row.secret_hash, now + grace
        row.secret_hash = hash_token(token)
        session.add(row)
    return token


async def rotate_webhook_secret(key_id: str, *, grace: timedelta, sessions: Sessions, clock: Clock) -> str:
    """Return a new webhook secret for a key; until `grace` is over, webhooks are signed with the previous one as well.

    Raises:
        NotFound: no such key, or it is revoked.
    """
    now = clock()
    async with sessions.write() as session:
        row = _usable(await queries.lock(session, key_id), key_id)
        row.webhook_secrets = _with_new_secret(row.webhook_secrets, now, grace=grace)
        session.add(row)
        return str(row.webhook_secrets[0]["secret"])


async def revoke_key(key_id: str, *, sessions: Sessions, clock: Clock) -> None:
    """Revoke a key; its batches continue, and their webhooks are still signed with its secret.

    Raises:
        NotFound: no such key, or it is already revoked.
    """
    async with sessions.write() as session:
        row = _usable(await queries.lock(session, key_id), key_id)
        if row.secret_hash is None:
            raise NotFound(f"{key_id} owns everything created without an API key; it cannot be revoked.")
        row.revoked_at = clock()
        session.add(row)


async def webhook_secret(*, sessions: Sessions, key_id: str = LOCAL_KEY) -> str:
    """Return the newest webhook secret of a key.

    Raises:
        NotFound: no such key.
    """
    async with sessions.read() as session:
        key = await queries.get(session, key_id)
    if key is None or not key.webhook_secrets:
        raise NotFound(f"There is no API key {key_id} with a webhook secret.")
    return str(key.webhook_secrets[0]["secret"])


async def link_secret(session: AsyncSession, batch_id: str) -> str:
    """Return the newest secret for links to the reports of a batch; receivers of its webhooks do not know it.

    It expires with the webhook secret of the same entry. A key that predates link secrets gets its first one here.
    """
    owner = await queries.owner_of(session, batch_id)
    if "link_secret" not in owner.webhook_secrets[0]:
        await queries.lock(session, owner.id)
        newest, *former = owner.webhook_secrets
        owner.webhook_secrets = [{"link_secret": _new_link_secret(), **newest}, *former]
        session.add(owner)
        await session.flush()
    return str(owner.webhook_secrets[0]["link_secret"])


async def owner_by_link(
    batch_id: str, name: str, *, expires: int, signature: str, sessions: Sessions, clock: Clock
) -> str:
    """Return the id of the key that owns a batch, given a signed link to one of its reports.

    Raises:
        Unauthorized: the link has expired or was altered, or its batch is gone.
    """
    async with sessions.read() as session:
        batch = await batches.get(session, batch_id)
        owner = await queries.owner_of(session, batch_id) if batch else None
    now = clock()
    stored = owner.webhook_secrets if owner and owner.revoked_at is None else []
    link_secrets = valid_secrets(stored, now, kind="link_secret")
    path = report_path(batch_id, name)
    if batch is None or not is_valid_link(path, expires=expires, signature=signature, secrets=link_secrets, now=now):
        raise Unauthorized("This link has expired or was altered. With an API key the CSV is always available.")
    return batch.api_key_id


def _usable(row: ApiKey | None, key_id: str) -> ApiKey:
    if row is None or row.revoked_at is not None:
        raise NotFound(f"There is no API key {key_id}, or it is revoked; `imgsvc keys list` shows all keys.")
    return row


def _with_new_secret(
    stored: list[dict[str, Any]], now: datetime, *, grace: timedelta = timedelta()
) -> list[dict[str, Any]]:
    """Add a secret of 192 random bits, as Standard Webhooks recommends; keep the previous ones until they expire."""
    secret = "whsec_" + base64.b64encode(secrets.token_bytes(24)).decode()
    until = (now + grace).isoformat()
    valid = set(valid_secrets(stored, now))
    former = [entry | {"until": entry["until"] or until} for entry in stored if entry["secret"] in valid]
    return [{"secret": secret, "link_secret": _new_link_secret(), "until": None}, *former]


def _new_link_secret() -> str:
    return secrets.token_hex(32)  # 256 random bits
