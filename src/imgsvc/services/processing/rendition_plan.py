"""What a batch wants of its images, and where the results lie."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass

from imgsvc.db.queries.leases import Claimed
from imgsvc.domain.ids import digest, rendition_key
from imgsvc.domain.imaging.compress import COMPRESSOR_VERSION
from imgsvc.domain.imaging.formats import OUTPUT_FORMATS
from imgsvc.domain.imaging.spec import Spec


class ReuseHashes:
    """Names for "this URL, for this API key, compressed to these specs by this version of the compressor"."""

    def __init__(self, api_key_id: str, specs: Sequence[Spec]) -> None:
        plan = [COMPRESSOR_VERSION, api_key_id, [spec.model_dump(mode="json") for spec in specs]]
        self._wish = hashlib.sha256(json.dumps(plan, sort_keys=True).encode() + b"\0")

    def of(self, url: str) -> str:
        """64 hex digits; nobody can make two that meet, so that no key is ever given what is another's."""
        whole = self._wish.copy()
        whole.update(url.encode())
        return whole.hexdigest()


@dataclass(frozen=True, slots=True)
class RenditionPlan:
    """What a round of a batch wants of its assets."""

    batch_id: str
    round: int
    specs: Sequence[Spec]
    hashes: ReuseHashes

    def key(self, asset: Claimed, *, name: str, data: bytes, kind: str) -> str:
        """Where the rendition `name` of an asset lies; `data` says which bytes it is, and no others."""
        return rendition_key(
            batch_id=self.batch_id,
            position=asset.position,
            slug=asset.slug,
            name=name,
            digest=digest(data, self.round),
            extension=OUTPUT_FORMATS[kind].extension,
        )
