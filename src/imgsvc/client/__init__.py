"""The Python client: upload a CSV, follow the batch, read its results and download the CSV.

with Client("http://127.0.0.1:8000") as imgsvc:
    batch = imgsvc.wait(imgsvc.submit("catalog.csv"))
    imgsvc.download_output(batch, "output.csv")
"""

from imgsvc.client.async_client import AsyncClient
from imgsvc.client.batches import Batch, Progress, Spec, Validation
from imgsvc.client.client import Client
from imgsvc.client.deliveries import Attempt, Delivery
from imgsvc.client.errors import (
    AuthenticationError,
    ClientError,
    ConfigurationError,
    Conflict,
    ConnectionLost,
    ConnectionRefused,
    InvalidUpload,
    NotFound,
    RequestRefused,
    ServerUnavailable,
    StillRunning,
    TooManyRequests,
    UnexpectedResponse,
)
from imgsvc.client.problems import Problem, ProblemError
from imgsvc.client.products import Asset, AssetError, Product, Rendition
from imgsvc.client.uploads import Fields

__all__ = [
    "Asset",
    "AssetError",
    "AsyncClient",
    "Attempt",
    "AuthenticationError",
    "Batch",
    "Client",
    "ClientError",
    "ConfigurationError",
    "Conflict",
    "ConnectionLost",
    "ConnectionRefused",
    "Delivery",
    "Fields",
    "InvalidUpload",
    "NotFound",
    "Problem",
    "ProblemError",
    "Product",
    "Progress",
    "Rendition",
    "RequestRefused",
    "ServerUnavailable",
    "Spec",
    "StillRunning",
    "TooManyRequests",
    "UnexpectedResponse",
    "Validation",
]
