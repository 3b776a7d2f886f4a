"""The data folder's lock and the socket that the API listens on."""

import fcntl
import os
import socket
import threading
from pathlib import Path

import pytest

from imgsvc.errors import StartupError
from imgsvc.process.data_folder import Running, find_running, lock_folder
from imgsvc.process.listen_socket import inherited, listen
from support.stack import speaks_ipv6

RUNNING = Running(4711, "http://127.0.0.1:8000", "unix:///tmp/valkey.sock")


def test_who_has_the_folder_can_be_read_as_long_as_it_has_it(tmp_path: Path) -> None:
    with lock_folder(tmp_path / "data") as tell:
        assert find_running(tmp_path / "data") is None
        tell(RUNNING)
        assert find_running(tmp_path / "data") == RUNNING
    assert find_running(tmp_path / "data") is None


def test_a_second_one_is_told_who_has_the_folder(tmp_path: Path) -> None:
    with lock_folder(tmp_path) as tell:
        with pytest.raises(StartupError, match="just starting"), lock_folder(tmp_path):
            pass
        tell(RUNNING)
        with (
            pytest.raises(StartupError, match=r"process 4711, http://127.0.0.1:8000") as refused,
            lock_folder(tmp_path),
        ):
            pass
    assert "--data-dir" in str(refused.value)


def test_what_the_one_before_left_is_not_believed(tmp_path: Path) -> None:
    with lock_folder(tmp_path) as tell:
        tell(RUNNING)
    with lock_folder(tmp_path):
        assert find_running(tmp_path) is None


@pytest.mark.parametrize("written", ["4711", "{}", '{"pid": 1, "url": "", "mood": 1}', "not JSON"])
def test_what_another_version_wrote_is_no_obstacle(tmp_path: Path, written: str) -> None:
    with lock_folder(tmp_path):
        (tmp_path / ".lock").write_text(written)
        assert find_running(tmp_path) is None
        with pytest.raises(StartupError, match="Another imgsvc"), lock_folder(tmp_path):
            pass


def test_somebody_who_only_looks_keeps_nobody_from_starting(tmp_path: Path) -> None:
    with lock_folder(tmp_path):
        pass
    looking = (tmp_path / ".lock").open()
    fcntl.flock(looking, fcntl.LOCK_SH)  # as `find_running` does
    leaving = threading.Timer(0.05, looking.close)
    leaving.start()
    with lock_folder(tmp_path):
        assert looking.closed
    leaving.join()


def test_a_folder_that_is_a_file_is_refused_in_words(tmp_path: Path) -> None:
    (tmp_path / "data").touch()
    with pytest.raises(StartupError, match="Cannot use the data folder"), lock_folder(tmp_path / "data"):
        pass


@pytest.mark.parametrize(("host", "family"), [("127.0.0.1", socket.AF_INET), ("::1", socket.AF_INET6)])
def test_an_address_of_either_kind_is_listened_on(host: str, family: int) -> None:
    if family == socket.AF_INET6 and not speaks_ipv6():
        pytest.skip("this machine has no IPv6")
    with listen(host, 0) as listener, socket.create_connection(listener.getsockname()[:2]) as client:
        assert listener.family == family
        assert client.getpeername()[0] == host


def test_a_connection_of_a_machine_that_is_gone_does_not_stay_for_ever() -> None:
    with listen("127.0.0.1", 0) as listener, inherited(os.dup(listener.fileno())) as handed_over:
        address = listener.getsockname()
        with socket.create_connection(address), handed_over.accept()[0] as connection:
            assert connection.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1


def test_a_port_that_is_taken_is_told_with_another_to_choose() -> None:
    with listen("127.0.0.1", 0) as listener:
        port = listener.getsockname()[1]
        with pytest.raises(StartupError, match=rf"Port {port} of 127.0.0.1 is taken .* IMGSVC_PORT={port + 1}"):
            listen("127.0.0.1", port)


def test_an_address_of_another_machine_is_refused_in_words() -> None:
    with pytest.raises(StartupError, match=r"Cannot listen on 192.0.2.1, port 8000: Cannot assign"):
        listen("192.0.2.1", 8000)


def test_a_descriptor_that_is_no_socket_is_refused_in_words(tmp_path: Path) -> None:
    with (tmp_path / "file").open("w") as file, pytest.raises(StartupError, match="no socket to listen on"):
        inherited(file.fileno())
