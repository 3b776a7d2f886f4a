"""Absolute addresses of what the API serves; they stand in answers, reports and webhooks."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Links:
    """Addresses under `public_url` (no slash at its end)."""

    public_url: str

    def batch(self, batch_id: str) -> str:
        return f"{self.public_url}/v1/batches/{batch_id}"

    def products(self, batch_id: str) -> str:
        return f"{self.batch(batch_id)}/products"

    def output_csv(self, batch_id: str) -> str:
        return f"{self.batch(batch_id)}/output.csv"

    def media(self, key: str) -> str:
        return f"{self.public_url}/media/{key}"
