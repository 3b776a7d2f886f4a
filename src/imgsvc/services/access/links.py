"""Absolute URLs of the API's resources, for responses, reports and webhooks."""

from dataclasses import dataclass
from datetime import datetime

from imgsvc.domain.signed_urls import LIFETIME, signed_query


@dataclass(frozen=True, slots=True)
class Links:
    """URLs under `public_url`, those of images under `media_url`; both without a trailing slash."""

    public_url: str
    media_url: str = ""
    """The base of the images' URLs, such as that of a CDN; empty: `/media` of the API."""

    def batch(self, batch_id: str) -> str:
        return f"{self.public_url}/v1/batches/{batch_id}"

    def products(self, batch_id: str) -> str:
        return f"{self.batch(batch_id)}/products"

    def events(self, batch_id: str) -> str:
        return f"{self.batch(batch_id)}/events"

    def archive(self, batch_id: str) -> str:
        return f"{self.batch(batch_id)}/archive.zip"

    def report(self, batch_id: str, name: str) -> str:
        return f"{self.public_url}{report_path(batch_id, name)}"

    def signed_report(self, batch_id: str, name: str, *, secret: str, now: datetime) -> str:
        """Return a link that works without an API key for a week."""
        query = signed_query(report_path(batch_id, name), secret=secret, until=now + LIFETIME)
        return f"{self.report(batch_id, name)}?{query}"

    def media(self, key: str) -> str:
        return f"{self.media_url or f'{self.public_url}/media'}/{key}"


def report_path(batch_id: str, name: str) -> str:
    return f"/v1/batches/{batch_id}/{name}"
