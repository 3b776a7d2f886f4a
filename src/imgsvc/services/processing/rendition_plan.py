"""What a batch wants of its images, and where the results lie."""

from collections.abc import Sequence
from dataclasses import dataclass

from imgsvc.db.queries.leases import Claimed
from imgsvc.domain.ids import digest, rendition_key
from imgsvc.domain.imaging.spec import Spec
from imgsvc.services.processing.reuse import ReuseHashes

EXTENSIONS = {"jpeg": "jpg"}
"""File names' endings where they differ from the format's name."""


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
            extension=EXTENSIONS.get(kind, kind),
        )
