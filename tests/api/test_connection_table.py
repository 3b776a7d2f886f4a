"""Which connection is closed when a new client needs its place."""

from dataclasses import dataclass, field

import pytest

from imgsvc.api.connections.table import MAX_CONNECTIONS, ConnectionTable, max_connections


@dataclass(eq=False)
class Held:
    """A connection as the table sees it; `dropped` has the names of all that were closed."""

    name: str
    dropped: list[str] = field(default_factory=list)
    is_flushed: bool = True
    is_stream: bool = False
    stalled: bool = False
    sending_headers: bool = False

    def is_stalled(self, _now: float) -> bool:
        return self.stalled

    def is_sending_headers(self, _now: float) -> bool:
        return self.sending_headers

    def drop(self) -> None:
        self.dropped.append(self.name)


def table_of(*connections: Held, busy: bool = False) -> ConnectionTable:
    """A full table."""
    table = ConnectionTable(len(connections))
    for connection in connections:
        table.set_idle(connection)
        if busy:
            table.set_busy(connection)
    return table


def test_the_idlest_goes_first() -> None:
    dropped: list[str] = []
    first, second, third = (Held(name, dropped) for name in ("first", "second", "third"))
    table = table_of(first, second, third)
    table.set_busy(first)
    table.set_idle(first)  # its request was answered a moment ago
    table.set_busy(second)
    assert table.free_slot()
    assert dropped == ["third"]
    assert table.free_slot(), "there is room now"
    assert dropped == ["third"]
    assert table.drop_one()
    assert dropped == ["third", "first"]


def test_an_answer_that_is_still_being_taken_is_not_cut_off() -> None:
    taking, idle = Held("taking", is_flushed=False), Held("idle")
    assert table_of(taking, idle).free_slot()
    assert (taking.dropped, idle.dropped) == ([], ["idle"])


def test_of_requests_a_stalled_one_goes_before_a_stream_and_no_other_goes() -> None:
    dropped: list[str] = []
    download = Held("download", dropped)
    stream = Held("stream", dropped, is_stream=True)
    stalled = Held("stalled", dropped, stalled=True)
    table = table_of(download, stream, stalled, busy=True)
    assert [table.drop_one() for _ in range(3)] == [True, True, False]
    assert dropped == ["stalled", "stream"]


def test_a_table_whose_requests_all_go_on_has_no_room_until_one_has_ended() -> None:
    first = Held("first")
    table = table_of(first, Held("second"), busy=True)
    assert not table.free_slot()
    table.forget(first)
    assert table.free_slot()


def test_connections_that_never_sent_a_byte_expire_and_those_that_send_headers_do_not() -> None:
    dropped: list[str] = []
    silent, sending = Held("silent", dropped), Held("sending", dropped, sending_headers=True)
    table = table_of(silent, sending, Held("taking", dropped, is_flushed=False))
    table.expire(keep_alive=3600)
    assert dropped == []
    table.expire(keep_alive=0)
    assert dropped == ["silent"]
    assert len(table) == 2


@pytest.mark.parametrize(
    ("descriptors", "connections"), [(64, 16), (256, 80), (1_024, 464), (4_096, 2_000), (2**20, MAX_CONNECTIONS)]
)
def test_half_of_the_descriptors_are_for_connections(descriptors: int, connections: int) -> None:
    assert max_connections(descriptors) == connections
