"""Settings that the service and the client commands share: where an imgsvc runs.

Only this module and `settings/server.py` read the environment (prefix IMGSVC_) and `.env`.
"""

from pathlib import Path

from pydantic import AnyHttpUrl, Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict

PREFIX = "IMGSVC_"
WILDCARD_ADDRESSES = ("0.0.0.0", "::")  # noqa: S104  # only compared with


class SharedSettings(BaseSettings):
    """Location of the service's data and its address."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX,
        env_file=".env",
        env_ignore_empty=True,  # a line of .env without a value
        extra="ignore",
        frozen=True,
    )

    # Storage
    data_dir: Path = Field(
        Path("data"), description="Folder for the database and the renditions unless their URLs are set"
    )
    # Network
    host: str = Field("127.0.0.1", min_length=1, description="Address that the API listens on")
    port: int = Field(8000, ge=1, le=65_535, description="Port that the API listens on")
    public_url: AnyHttpUrl | None = Field(
        None, description="Base URL that clients use, at the start of every link; unset: the API's address and port"
    )

    @property
    def public_base(self) -> str:
        """The start of every link, without a trailing slash."""
        return str(self.public_url or self.local_base).rstrip("/")

    @property
    def local_base(self) -> str:
        """The API's URL on its own machine; a wildcard address is replaced by loopback."""
        host = "127.0.0.1" if self.host in WILDCARD_ADDRESSES else self.host
        return f"http://{f'[{host}]' if ':' in host else host}:{self.port}"


class ClientSettings(SharedSettings):
    """Settings of the client commands: the server's URL and the API key."""

    # Commands that use a server
    url: str | None = Field(
        None, description="URL of the server; unset: the `imgsvc up` that uses the data folder, otherwise `public_url`"
    )
    api_key: SecretStr | None = Field(None, description="API key that the commands send")
