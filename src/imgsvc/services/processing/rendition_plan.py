"""The renditions that a batch asks for: their specs, their storage keys, and the hashes that allow their reuse."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from imgsvc.db.queries.leases import Claimed
from imgsvc.db.queries.reuse import PreviousResult
from imgsvc.domain.imaging.compress import COMPRESSOR_VERSION
from imgsvc.domain.imaging.formats import OUTPUT_FORMATS
from imgsvc.domain.imaging.spec import Spec
from imgsvc.domain.media_keys import digest, digest_in, rendition_key
from imgsvc.services.throttling.flow import Flow


class ReuseHashes:
    """Hashes of "this URL, for this API key, compressed to these specs by this version of the compressor".

    A template of names is part of them: who changes it wants other names, also for images that have not changed.
    """

    def __init__(self, api_key_id: str, specs: Sequence[Spec], names: str | None = None) -> None:
        settings: list[object] = [COMPRESSOR_VERSION, api_key_id, [spec.identity() for spec in specs]]
        settings += [names] if names is not None else []
        self._prefix = hashlib.sha256(json.dumps(settings, sort_keys=True).encode() + b"\0")

    def for_url(self, url: str) -> str:
        """Return 64 hex digits. The hash resists collisions, so that no API key can get the renditions of another."""
        whole = self._prefix.copy()
        whole.update(url.encode())
        return whole.hexdigest()


NEVER = datetime.max.replace(tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class RenditionPlan:
    """The renditions that one round of a batch makes of each of its assets."""

    api_key_id: str
    batch_id: str
    round: int
    specs: Sequence[Spec]
    hashes: ReuseHashes
    folder: str
    """The media folder of the API key."""
    removals: int = 0
    """Number of the key's last finished removal of stored files, before anything of this plan was stored."""
    reuse: bool = True
    """Allow earlier renditions if the origin reports no change."""
    give_up_at: datetime = NEVER
    """When images fail whose host takes no requests."""

    @property
    def flow(self) -> Flow:
        """The flow on whose behalf its assets are processed."""
        return Flow(self.api_key_id, self.batch_id)

    def may_reuse(self, previous: PreviousResult | None) -> bool:
        """Return whether the fetch is conditional: on a 304, the renditions of `previous` are those of this plan."""
        return self.reuse and previous is not None and previous.has_validator

    def key(
        self, asset: Claimed, *, name: str, data: bytes, format_name: str, previous: PreviousResult | None = None
    ) -> str:
        """Return the storage key of the rendition `name`, which contains a digest of `data`: one key, one content.

        If `previous` has the same bytes, they keep their key, even if the product has another name now.
        """
        its_digest = digest(data)
        for old in previous.renditions if previous else ():
            if old["name"] == name and digest_in(old["key"]) == its_digest:
                return str(old["key"])
        return rendition_key(
            folder=self.folder,
            name=asset.slug,
            rendition=name,
            digest=its_digest,
            extension=OUTPUT_FORMATS[format_name].extension,
        )
