"""Reuse: what an API key has had made of a URL before is not made again while the origin says that nothing changed."""

import hashlib
import json
from collections.abc import Sequence

from imgsvc.domain.imaging.compress import RECIPE
from imgsvc.domain.imaging.spec import Spec


class ReuseHashes:
    """Names for "this URL, for this API key, compressed to these specs by this version of the compressor"."""

    def __init__(self, api_key_id: str, specs: Sequence[Spec]) -> None:
        plan = [RECIPE, api_key_id, [spec.model_dump(mode="json") for spec in specs]]
        self._wish = hashlib.sha256(json.dumps(plan, sort_keys=True).encode() + b"\0")

    def of(self, url: str) -> str:
        """64 hex digits; nobody can make two that meet, so that no key is ever given what is another's."""
        whole = self._wish.copy()
        whole.update(url.encode())
        return whole.hexdigest()
