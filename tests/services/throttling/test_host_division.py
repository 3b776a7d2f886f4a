"""The division of a host's limit among workers: even, to those who want it, and never more than the limit."""

from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imgsvc.services.throttling.host_division import TURN, share_of
from imgsvc.services.throttling.host_estimate import HostUse
from imgsvc.services.throttling.host_rate import UNLIMITED_RATE


def use(wanted: float, *, held: float = 0.0) -> HostUse:
    return HostUse(wanted, in_flight=held, answers=0.0, held=held)


def places(
    uses: Mapping[str, HostUse], *, limit: float = 64, rate: float = UNLIMITED_RATE, at: float = 0.0
) -> dict[str, float]:
    """Return the places of each worker."""
    return {name: share_of(name, uses, limit=limit, rate=rate, at=at) * int(limit) for name in uses}


def settled(
    wanted: Mapping[str, float], *, limit: float = 64, rate: float = UNLIMITED_RATE, at: float = 0.0
) -> dict[str, float]:
    """Return the places of each worker after a few reports of all."""
    held = dict.fromkeys(wanted, 0.0)
    for _ in range(3):
        for name in wanted:
            uses = {each: use(wanted[each], held=min(held[each], wanted[each])) for each in wanted}
            held[name] = share_of(name, uses, limit=limit, rate=rate, at=at) * int(limit)
    return held


def test_a_worker_alone_has_the_whole_limit() -> None:
    assert places({"one": use(3)}) == {"one": 64}


def test_workers_that_want_more_than_there_is_get_even_parts() -> None:
    assert settled({"one": 100, "two": 100}) == {"one": 32, "two": 32}
    assert sorted(settled(dict.fromkeys("abc", 100), limit=8).values()) == [2, 3, 3]


def test_what_one_does_not_want_goes_to_the_others() -> None:
    assert settled({"small": 4, "large": 100, "other": 100}) == {"small": 4, "large": 30, "other": 30}


def test_what_none_wants_is_divided_for_later() -> None:
    assert settled({"one": 4, "two": 4}) == {"one": 32, "two": 32}


def test_a_worker_that_joins_takes_only_what_others_have_given_up() -> None:
    assert places({"one": use(100, held=64), "two": use(100)}) == {"one": 32, "two": 0}
    assert places({"one": use(100, held=40), "two": use(100)}) == {"one": 32, "two": 24}


def test_a_smaller_limit_takes_places_from_all() -> None:
    assert places(dict.fromkeys(("one", "two"), use(100, held=8)), limit=8) == {"one": 4, "two": 4}


@pytest.mark.parametrize(("limit", "rate", "at_one_time"), [(2.9, UNLIMITED_RATE, 2), (64, 3.5, 3), (1, 0.5, 1)])
def test_with_too_few_places_all_workers_have_their_turn(limit: float, rate: float, at_one_time: int) -> None:
    workers, had = dict.fromkeys("abcde", 100.0), set[str]()
    for turn in range(40):
        shares = settled(workers, limit=limit, rate=rate, at=turn * TURN)
        having = {name for name, share in shares.items() if share}
        assert len(having) == at_one_time
        had |= having
    assert had == set(workers)


WORKERS = st.dictionaries(st.sampled_from("abcdefgh"), st.floats(1, 200), min_size=1)


@given(wanted=WORKERS, limit=st.floats(1, 600), rate=st.floats(0.5, UNLIMITED_RATE), at=st.floats(0, 1e9))
def test_workers_together_keep_to_the_limit_and_use_it(
    wanted: dict[str, float], limit: float, rate: float, at: float
) -> None:
    shares = settled(wanted, limit=limit, rate=rate, at=at)
    assert sum(shares.values()) <= int(limit) + 1e-6
    assert sum(shares.values()) >= min(int(limit), sum(wanted.values())) - len(wanted) - 1e-6
