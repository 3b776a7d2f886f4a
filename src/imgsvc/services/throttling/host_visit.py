"""One fetch from a host: its reservation, and what its end says about the host."""

import random
from collections.abc import Callable

from imgsvc.errors import AssetError
from imgsvc.services.throttling.blame import Says, is_limit, meaning
from imgsvc.services.throttling.flow import Flow
from imgsvc.services.throttling.host_state import UNITS_PER_FETCH, FetchFacts, HostState
from imgsvc.services.throttling.reservation import Reservation


class HostPaused(Exception):  # not an error: a reason to come back later
    """A host that takes no request of ours during the next `seconds`; `error` is its last failure, if it failed."""

    def __init__(self, seconds: float, error: AssetError | None = None) -> None:
        super().__init__(f"paused for {seconds:.1f} s")
        self.seconds = seconds
        self.error = error


class HostGivenUp(Exception):  # not an error of its own
    """A host that has been away for longer than the patience with it; its images fail with its last `error`."""

    def __init__(self, error: AssetError) -> None:
        super().__init__(error.code)
        self.error = error


class HostReservation:
    """The room for one fetch, until its slot is left or it is released; `release` may be called twice.

    One of no units is for a host that takes no requests.
    """

    __slots__ = ("_state", "flow", "is_open", "units")

    def __init__(self, flow: Flow, state: HostState, units: int) -> None:
        self.flow = flow
        self.units = units
        self.is_open = True
        self._state = state
        state.booked += units

    def resize(self, units: int) -> None:
        """Book `units` from now on."""
        self._state.booked += units - self.units
        self.units = units

    def set_conditional(self, conditional: bool) -> None:
        """Book what a fetch of this kind takes; a conditional one takes less, unless its host sends whole images."""
        self.resize(1 if conditional and not self._state.changes else UNITS_PER_FETCH)

    def is_for(self, state: HostState) -> bool:
        """Return whether this is room at that host."""
        return self._state is state

    def release(self) -> None:
        if self.is_open:
            self.is_open = False
            self._state.booked -= self.units


class HostVisit:
    """A fetch in flight, which reports its end to the state of its host; only the first of its endings counts."""

    __slots__ = ("_answered_at", "_clock", "_facts", "_place", "_sent_at", "_state")

    def __init__(self, state: HostState, place: Reservation, clock: Callable[[], float]) -> None:
        self._state = state
        self._clock = clock
        self._place: Reservation | None = place
        self._sent_at = clock()
        self._answered_at: float | None = None
        self._facts = FetchFacts(self._sent_at, state.peers, alone=state.in_flight <= 1)

    def send(self) -> None:
        """Note that a request is sent now."""
        self._sent_at, self._answered_at = self._clock(), None

    def answer(self) -> None:
        """Note that the headers of its response have arrived."""
        self._answered_at = self._clock()

    def url_to_compare(self, error: AssetError) -> str | None:
        """Return an image that the host has sent, if it is to be asked for because a probe of the host failed."""
        availability = self._state.availability
        if not availability.is_away or availability.is_doubtful(self._clock()) or is_limit(error):
            return None
        return availability.known_url

    def note_known(self) -> None:
        """Note that the host still sends that image."""
        self._state.availability.note_known(self._clock())

    def leave(self) -> bool:
        """Free its place; return False if it has ended already."""
        if self._place is None:
            return False
        self._place.release()
        self._place = None
        return True

    def succeed(self) -> None:
        """Note that the host has answered."""
        if self.leave():
            self._note_answer()

    def fail(self, error: AssetError) -> None:
        """Note an error.

        Raises:
            HostPaused, HostGivenUp: it is the host's, not the image's.
        """
        if not self.leave():
            return
        says = meaning(error, headers_arrived=self._answered_at is not None)
        if says is Says.ANSWERED:
            self._note_answer()
        if says in (Says.ANSWERED, Says.NOTHING):
            return
        state, now = self._state, self._clock()
        if state.note_failure(error, says, self._facts, now):
            return
        if state.availability.is_given_up(now):
            raise HostGivenUp(error) from error
        soon = random.uniform(0.5, 1.5)  # noqa: S311  # jitter
        raise HostPaused(max(state.delay(now), soon), error) from error

    def _note_answer(self) -> None:
        now = self._clock()
        latency = (self._answered_at or now) - self._sent_at
        self._state.note_answer(latency, self._facts, now)
