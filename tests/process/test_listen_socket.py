"""The data folder's lock and the API's listening socket."""

import fcntl
import os
import socket
import threading
from pathlib import Path

import pytest

from imgsvc.errors import StartupError
from imgsvc.process.data_folder import RunningStack, find_running, lock_folder
from imgsvc.process.listen_socket import inherited, listen
from support.stack import speaks_ipv6

RUNNING = RunningStack(4711, "http://127.0.0.1:8000", "unix:///tmp/valkey.sock")


def test_the_owner_of_the_folder_is_published_while_it_holds_the_lock(tmp_path: Path) -> None:
    with lock_folder(tmp_path / "data") as publish:
        assert find_running(tmp_path / "data") is None
        publish(RUNNING)
        assert find_running(tmp_path / "data") == RUNNING
    assert find_running(tmp_path / "data") is None


def test_a_second_owner_is_refused_with_the_name_of_the_first(tmp_path: Path) -> None:
    with lock_folder(tmp_path) as publish:
        with pytest.raises(StartupError, match="just starting"), lock_folder(tmp_path):
            pass
        publish(RUNNING)
        with (
            pytest.raises(StartupError, match=r"process 4711, http://127.0.0.1:8000") as refused,
            lock_folder(tmp_path),
        ):
            pass
    assert "--data-dir" in str(refused.value)


def test_the_record_of_a_previous_owner_is_ignored(tmp_path: Path) -> None:
    with lock_folder(tmp_path) as publish:
        publish(RUNNING)
    with lock_folder(tmp_path):
        assert find_running(tmp_path) is None


@pytest.mark.parametrize("written", ["4711", "{}", '{"pid": 1, "url": "", "mood": 1}', "not JSON"])
def test_a_record_written_by_another_version_is_ignored(tmp_path: Path, written: str) -> None:
    with lock_folder(tmp_path):
        (tmp_path / ".lock").write_text(written)
        assert find_running(tmp_path) is None
        with pytest.raises(StartupError, match="Another imgsvc"), lock_folder(tmp_path):
            pass


def test_reading_the_lock_does_not_keep_an_owner_from_starting(tmp_path: Path) -> None:
    with lock_folder(tmp_path):
        pass
    reader = (tmp_path / ".lock").open()
    fcntl.flock(reader, fcntl.LOCK_SH)  # as `find_running` does
    closing = threading.Timer(0.05, reader.close)
    closing.start()
    with lock_folder(tmp_path):
        assert reader.closed
    closing.join()


def test_a_data_folder_that_is_a_file_is_refused_with_a_message(tmp_path: Path) -> None:
    (tmp_path / "data").touch()
    with pytest.raises(StartupError, match="Cannot use the data folder"), lock_folder(tmp_path / "data"):
        pass


@pytest.mark.parametrize(("host", "family"), [("127.0.0.1", socket.AF_INET), ("::1", socket.AF_INET6)])
def test_ipv4_and_ipv6_addresses_can_be_listened_on(host: str, family: int) -> None:
    if family == socket.AF_INET6 and not speaks_ipv6():
        pytest.skip("this machine has no IPv6")
    with listen(host, 0) as listener, socket.create_connection(listener.getsockname()[:2]) as client:
        assert listener.family == family
        assert client.getpeername()[0] == host


def test_connections_use_tcp_keepalive() -> None:
    with listen("127.0.0.1", 0) as listener, inherited(os.dup(listener.fileno())) as inherited_listener:
        address = listener.getsockname()
        with socket.create_connection(address), inherited_listener.accept()[0] as connection:
            assert connection.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1


def test_a_port_in_use_is_refused_with_another_one_suggested() -> None:
    with listen("127.0.0.1", 0) as listener:
        port = listener.getsockname()[1]
        with pytest.raises(StartupError, match=rf"Port {port} of 127.0.0.1 is in use .* IMGSVC_PORT={port + 1}"):
            listen("127.0.0.1", port)


def test_an_address_of_another_machine_is_refused_with_a_message() -> None:
    with pytest.raises(StartupError, match=r"Cannot listen on 192.0.2.1, port 8000: Cannot assign"):
        listen("192.0.2.1", 8000)


def test_a_descriptor_that_is_not_a_socket_is_refused_with_a_message(tmp_path: Path) -> None:
    with (tmp_path / "file").open("w") as file, pytest.raises(StartupError, match="is not a socket to listen on"):
        inherited(file.fileno())
