"""The Python client: upload a CSV, follow it, read what became of its images, take the CSV back."""

from imgsvc.client.async_client import AsyncClient
from imgsvc.client.batches import Batch, Progress, Spec, Validation
from imgsvc.client.client import Client
from imgsvc.client.deliveries import Attempt, Delivery
from imgsvc.client.errors import (
    ClientError,
    Conflict,
    InvalidUpload,
    KeyRefused,
    NobodyThere,
    NotFound,
    Overloaded,
    Refused,
    ServerAway,
    StillRunning,
    TooMany,
    UnexpectedAnswer,
    WrongSetup,
)
from imgsvc.client.problems import Problem, ProblemError
from imgsvc.client.products import Asset, AssetError, Product, Rendition
from imgsvc.client.uploads import Fields

__all__ = [
    "Asset",
    "AssetError",
    "AsyncClient",
    "Attempt",
    "Batch",
    "Client",
    "ClientError",
    "Conflict",
    "Delivery",
    "Fields",
    "InvalidUpload",
    "KeyRefused",
    "NobodyThere",
    "NotFound",
    "Overloaded",
    "Problem",
    "ProblemError",
    "Product",
    "Progress",
    "Refused",
    "Rendition",
    "ServerAway",
    "Spec",
    "StillRunning",
    "TooMany",
    "UnexpectedAnswer",
    "Validation",
    "WrongSetup",
]
