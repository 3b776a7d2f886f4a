"""Where an imgsvc is: the settings that the service and the commands that use one share.

Here and in `settings/server.py` the environment (prefix IMGSVC_) and `.env` are read, and nowhere else.
"""

from pathlib import Path

from pydantic import AnyHttpUrl, Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict

PREFIX = "IMGSVC_"
EVERY_ADDRESS = ("0.0.0.0", "::")  # noqa: S104  # only compared with


class SharedSettings(BaseSettings):
    """Where the service keeps its data and is reached."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX,
        env_file=".env",
        env_ignore_empty=True,  # a line of .env that is not filled in
        extra="ignore",
        frozen=True,
    )

    # Storage
    data_dir: Path = Field(Path("data"), description="Folder for the database and the renditions when no URL is set")
    # Network
    host: str = Field("127.0.0.1", min_length=1, description="Address that the API listens on")
    port: int = Field(8000, ge=1, le=65_535, description="Port that the API listens on")
    public_url: AnyHttpUrl | None = Field(
        None, description="What clients reach the API under; every link starts with it; unset: its address and port"
    )

    @property
    def public_base(self) -> str:
        """What every link starts with, without a slash at its end."""
        return str(self.public_url or self.local_base).rstrip("/")

    @property
    def local_base(self) -> str:
        """Where the API is reached on its own machine: an address that means "all of them" is none to call."""
        host = "127.0.0.1" if self.host in EVERY_ADDRESS else self.host
        return f"http://{f'[{host}]' if ':' in host else host}:{self.port}"


class ClientSettings(SharedSettings):
    """What the commands that use a server need to know: where it is, and who they are."""

    # Commands that use a server
    url: str | None = Field(
        None, description="URL of the server; unset: the `imgsvc up` that uses the data folder, else `public_url`"
    )
    api_key: SecretStr | None = Field(None, description="API key that the commands send")
