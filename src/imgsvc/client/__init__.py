"""The Python client: upload a CSV, follow it, read what became of its images, take the CSV back."""

from imgsvc.client.errors import ClientError, KeyRefused, Refused, ServerAway, UnexpectedAnswer, WrongSetup
from imgsvc.client.http import Client
from imgsvc.client.wire import Asset, Batch, Product

__all__ = [
    "Asset",
    "Batch",
    "Client",
    "ClientError",
    "KeyRefused",
    "Product",
    "Refused",
    "ServerAway",
    "UnexpectedAnswer",
    "WrongSetup",
]
