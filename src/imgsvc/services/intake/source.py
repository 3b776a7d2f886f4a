"""The address that an upload is fetched from, and what is stored about it."""

import hashlib
import json
from dataclasses import asdict, dataclass
from typing import Any

from imgsvc import __version__
from imgsvc.domain.manifest.model import ManifestLimits
from imgsvc.services.intake.upload import Upload
from imgsvc.services.ports import Validators

_MAX_CATALOGUE = 255
_DIGITS = 12


@dataclass(frozen=True, slots=True)
class Source:
    """The source of a fetched file of `size` bytes, as read; two files with the same `reading` are read alike."""

    url: str
    validators: Validators
    reading: str
    size: int

    def stored(self) -> dict[str, Any]:
        """Return the source as it is stored with its batch."""
        return {"url": self.url, **asdict(self.validators), "reading": self.reading, "size": self.size}

    @classmethod
    def parse(cls, stored: dict[str, Any]) -> "Source":
        """Return the source that `stored` describes."""
        validators = Validators(stored["etag"], stored["last_modified"], stored["final_url_hash"])
        return cls(stored["url"], validators, stored["reading"], stored["size"])


def reading_of(upload: Upload, limits: ManifestLimits, max_bytes: int) -> str:
    """Return a digest of everything, except the file, that decides what is read from it.

    That includes the version of imgsvc: a release may read the same bytes differently.
    """
    facts = {
        "columns": upload.columns and upload.columns.model_dump(),
        "filename": upload.filename,
        "on_invalid": upload.on_invalid,
        "sheet": upload.sheet,
        "keeps_text": upload.output == "replace",
        "limits": asdict(limits),
        "max_bytes": max_bytes,
        "version": __version__,
    }
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()


def catalogue_of(url: str) -> str:
    """Return the default name of the catalogue at `url`: the URL, with a digest in place of its query.

    The query may contain a secret, but it may also be what distinguishes two feeds or two sheets of one document.
    """
    address, _, query = url.partition("#")[0].partition("?")
    if not query and len(address) <= _MAX_CATALOGUE:
        return address
    digest = hashlib.sha256(url.partition("#")[0].encode()).hexdigest()[:_DIGITS]
    return f"{address[: _MAX_CATALOGUE - _DIGITS - 1]}?{digest}"
