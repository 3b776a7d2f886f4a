"""The renditions that a batch asks for: their specs, their storage keys, and the hashes that allow their reuse."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from imgsvc.db.queries.leases import Claimed
from imgsvc.domain.ids import digest, rendition_key
from imgsvc.domain.imaging.compress import COMPRESSOR_VERSION
from imgsvc.domain.imaging.formats import OUTPUT_FORMATS
from imgsvc.domain.imaging.spec import Spec
from imgsvc.services.throttling.flow import Flow


class ReuseHashes:
    """Hashes of "this URL, for this API key, compressed to these specs by this version of the compressor"."""

    def __init__(self, api_key_id: str, specs: Sequence[Spec]) -> None:
        settings = [COMPRESSOR_VERSION, api_key_id, [spec.identity() for spec in specs]]
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
    give_up_at: datetime = NEVER
    """When images fail whose host takes no requests."""

    @property
    def flow(self) -> Flow:
        """The flow on whose behalf its assets are processed."""
        return Flow(self.api_key_id, self.batch_id)

    def key(self, asset: Claimed, *, name: str, data: bytes, format_name: str) -> str:
        """Return the storage key of the rendition `name`, which contains a digest of `data`: one key, one content."""
        return rendition_key(
            batch_id=self.batch_id,
            position=asset.position,
            slug=asset.slug,
            name=name,
            digest=digest(data, self.round),
            extension=OUTPUT_FORMATS[format_name].extension,
        )
