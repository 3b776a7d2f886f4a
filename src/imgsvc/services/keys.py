"""API keys; so far only the local one, and the secret that its webhooks are signed with."""

from imgsvc.db.engine import Sessions
from imgsvc.db.queries import keys as queries
from imgsvc.db.queries.keys import LOCAL_KEY
from imgsvc.errors import NotFound


async def webhook_secret(*, sessions: Sessions, key_id: str = LOCAL_KEY) -> str:
    """The newest webhook secret of a key.

    Raises:
        NotFound: no such key.
    """
    async with sessions.read() as session:
        key = await queries.get(session, key_id)
    if key is None or not key.webhook_secrets:
        raise NotFound(f"There is no API key {key_id} with a webhook secret.")
    return str(key.webhook_secrets[0]["secret"])
