"""The busiest hosts of a worker: what is in flight or wanted at each, its limit, its pause and its outage."""

import pytest

from imgsvc.errors import AssetError, ConnectError, HttpStatusError
from imgsvc.services.throttling.busy_hosts import MAX_BUSY_HOSTS, WANTED_FOR, BusyHost, busiest
from imgsvc.services.throttling.concurrency_limit import INITIAL_LIMIT
from imgsvc.services.throttling.flow import Flow
from imgsvc.services.throttling.host_limiter import HostLimiter
from imgsvc.services.throttling.host_visit import HostPaused

HOST = "shop.example:443"
FLOW = Flow("key", "batch")


class Worker:
    """The limiter of a worker, with a clock that the test moves."""

    def __init__(self) -> None:
        self.now = 1_000.0
        self.limiter = HostLimiter(maximum=64, clock=lambda: self.now)

    def busiest(self) -> list[BusyHost]:
        return busiest(self.limiter.hosts, self.now)

    def names(self) -> list[str]:
        return [host.name for host in self.busiest()]

    async def fail(self, error: AssetError, host: str = HOST) -> None:
        with pytest.raises(HostPaused):
            async with self.limiter.slot(host, FLOW):
                raise error


@pytest.fixture
def worker() -> Worker:
    return Worker()


async def test_fetches_in_flight_are_shown_with_the_limit(worker: Worker) -> None:
    async with worker.limiter.slot(HOST, FLOW), worker.limiter.slot(HOST, FLOW, conditional=True):
        worker.now += 1_000  # a slow download
        assert worker.busiest() == [BusyHost(HOST, INITIAL_LIMIT, 1.25, 0, 0, 0)]


async def test_a_host_that_has_been_idle_is_not_shown(worker: Worker) -> None:
    for room in worker.limiter.reserve(HOST, FLOW, 1):
        async with worker.limiter.slot(HOST, FLOW, room):
            pass
    worker.now += WANTED_FOR
    assert worker.names() == [HOST]
    worker.now += 1
    assert worker.names() == []


async def test_a_paused_host_is_shown_until_its_pause_ends(worker: Worker) -> None:
    await worker.fail(HttpStatusError(429, retry_after=600))
    for seconds_left in (600, 300):
        [host] = worker.busiest()
        assert (host.paused_for, host.away_for) == (seconds_left, 0)
        worker.now += 300
    assert worker.names() == []


async def test_a_host_that_is_away_is_shown_while_its_images_wait(worker: Worker) -> None:
    worker.limiter.reserve(HOST, FLOW, 0)
    await worker.fail(ConnectError())
    worker.now += 25
    worker.limiter.reserve(HOST, FLOW, 50)
    [host] = worker.busiest()
    assert (host.paused_for, host.away_for) == (0, 25)
    worker.now += 300
    assert worker.names() == []


async def test_the_outage_of_a_host_that_others_redirect_to_is_shown(worker: Worker) -> None:
    await worker.fail(ConnectError())
    worker.now += 12
    assert [host.away_for for host in worker.busiest()] == [12]


async def test_the_hosts_with_the_most_fetches_in_flight_or_wanted_are_shown(worker: Worker) -> None:
    await worker.fail(ConnectError(), "away.example")
    worker.limiter.reserve("away.example", FLOW, 50)
    for number in range(2 * MAX_BUSY_HOSTS):
        worker.limiter.reserve(f"{number}.example", FLOW, 1)
    async with worker.limiter.slot("39.example", FLOW):
        names = worker.names()
    assert names[:2] == ["away.example", "39.example"]
    assert len(names) == MAX_BUSY_HOSTS
