"""What the HTTP server does with connections."""

from imgsvc.api.app import create_app
from imgsvc.api.server import Server
from imgsvc.config import Settings


def test_an_idle_connection_is_kept_for_longer_than_clients_and_proxies_keep_it(settings: Settings) -> None:
    assert Server(create_app(settings), drain=1).config.timeout_keep_alive > 60
