"""The choice of the connection that is closed for a new client."""

from dataclasses import dataclass, field

import pytest

from imgsvc.api.connections.table import MAX_CONNECTIONS, ConnectionTable, max_connections


@dataclass(eq=False)
class FakeConnection:
    """A connection as the table needs it; `dropped` collects the names of closed connections."""

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


def table_of(*connections: FakeConnection, busy: bool = False) -> ConnectionTable:
    """Return a full table."""
    table = ConnectionTable(len(connections))
    for connection in connections:
        table.set_idle(connection)
        if busy:
            table.set_busy(connection)
    return table


def test_the_longest_idle_connection_is_dropped_first() -> None:
    dropped: list[str] = []
    first, second, third = (FakeConnection(name, dropped) for name in ("first", "second", "third"))
    table = table_of(first, second, third)
    table.set_busy(first)
    table.set_idle(first)  # its request was answered a moment ago
    table.set_busy(second)
    assert table.free_slot()
    assert dropped == ["third"]
    assert table.free_slot(), "a slot is free now"
    assert dropped == ["third"]
    assert table.drop_one()
    assert dropped == ["third", "first"]


def test_a_connection_that_is_still_sending_a_response_is_not_dropped() -> None:
    taking, idle = FakeConnection("taking", is_flushed=False), FakeConnection("idle")
    assert table_of(taking, idle).free_slot()
    assert (taking.dropped, idle.dropped) == ([], ["idle"])


def test_stalled_requests_are_dropped_before_streams_and_others_never() -> None:
    dropped: list[str] = []
    download = FakeConnection("download", dropped)
    stream = FakeConnection("stream", dropped, is_stream=True)
    stalled = FakeConnection("stalled", dropped, stalled=True)
    table = table_of(download, stream, stalled, busy=True)
    assert [table.drop_one() for _ in range(3)] == [True, True, False]
    assert dropped == ["stalled", "stream"]


def test_a_table_of_active_requests_has_no_free_slot_until_one_has_ended() -> None:
    first = FakeConnection("first")
    table = table_of(first, FakeConnection("second"), busy=True)
    assert not table.free_slot()
    table.forget(first)
    assert table.free_slot()


def test_silent_connections_expire_and_those_that_send_headers_do_not() -> None:
    dropped: list[str] = []
    silent, sending = FakeConnection("silent", dropped), FakeConnection("sending", dropped, sending_headers=True)
    table = table_of(silent, sending, FakeConnection("taking", dropped, is_flushed=False))
    table.expire(keep_alive=3600)
    assert dropped == []
    table.expire(keep_alive=0)
    assert dropped == ["silent"]
    assert len(table) == 2


@pytest.mark.parametrize(
    ("descriptors", "connections"), [(64, 16), (256, 80), (1_024, 464), (4_096, 2_000), (2**20, MAX_CONNECTIONS)]
)
def test_half_of_the_free_descriptors_are_for_connections(descriptors: int, connections: int) -> None:
    assert max_connections(descriptors) == connections
