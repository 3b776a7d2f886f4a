"""Kinds of hosts, in virtual time: every image arrives, in little more than the host needs, with few refusals."""

import asyncio
import random
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import pytest

from imgsvc.errors import AssetError, ConnectError, HttpStatusError
from imgsvc.services.throttling.flow import Flow
from support.model_origins import AwayOrigin, CappedOrigin, CountingOrigin, ModelOrigin, QueuedOrigin, RatedOrigin
from support.simulated_workers import Batch, simulate
from support.virtual_time import run_in_virtual_time, virtual_now


def status(code: int, retry_after: float | None = None) -> Callable[[], AssetError]:
    return lambda: HttpStatusError(code, retry_after=retry_after)


REFUSALS = [ConnectError, *(status(code) for code in (429, 500, 502, 503, 504, 508, 509))]
REFUSAL_IDS = [refusal().code for refusal in REFUSALS]


def process(origin: ModelOrigin, images: int, *, give_up_after: float | None = None, **options: Any) -> Batch:
    """Process a batch of one host in virtual time."""

    async def main() -> Batch:
        batch = Batch([f"http://shop.example/{number}.jpg" for number in range(images)])
        if give_up_after is not None:
            batch.give_up_at = virtual_now() + timedelta(seconds=give_up_after)
        await simulate(origin, batch, **{"workers": 2, "within": 200_000} | options)
        return batch

    random.seed(1)  # of the jitter
    return run_in_virtual_time(main())


# -- hosts that queue -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("places", "images", "workers"), [(2, 300, 2), (4, 1_000, 4), (3, 600, 2), (2, 300, 8)])
def test_a_host_that_queues_sends_all_images_in_the_time_it_needs(places: int, images: int, workers: int) -> None:
    origin = QueuedOrigin(latency=0.4, places=places)
    batch = process(origin, images, workers=workers)
    assert batch.succeeded == images
    assert batch.seconds <= 1.3 * images / (places / 0.4)
    assert origin.seen["timed out"] == 0


# -- hosts that refuse ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("refusal", REFUSALS, ids=REFUSAL_IDS)
def test_a_host_that_takes_eight_at_a_time_sends_all_images(refusal: Callable[[], AssetError]) -> None:
    origin = CappedOrigin(places=8, refusal=refusal)
    batch = process(origin, 1_000)
    assert batch.succeeded == 1_000
    assert origin.seen["refused"] <= 90
    assert batch.seconds <= 1.6 * 1_000 * 0.15 / 8


@pytest.mark.parametrize("refusal", [ConnectError, status(429), status(500)], ids=["reset", "429", "500"])
@pytest.mark.parametrize("latency", [0.05, 0.5])
@pytest.mark.parametrize("places", [2, 30])
def test_a_host_of_any_number_of_places_is_used(places: int, latency: float, refusal: Callable[[], AssetError]) -> None:
    origin = CappedOrigin(latency=latency, places=places, refusal=refusal)
    batch = process(origin, 600, workers=1)
    assert batch.succeeded == 600
    assert origin.seen["refused"] <= 66
    assert batch.seconds <= 1.3 * 600 * latency / places + 5


@pytest.mark.parametrize("workers", [1, 2, 4, 8])
def test_a_host_that_allows_fifty_per_second_is_used_and_rarely_refuses(workers: int) -> None:
    origin = RatedOrigin(rate=50, refusal=status(429))
    batch = process(origin, 1_000, workers=workers)
    assert batch.succeeded == 1_000
    assert batch.seconds <= 1.3 * 20
    assert origin.seen["refused"] <= 40


@pytest.mark.parametrize("workers", [1, 2, 4])
def test_a_slow_host_that_limits_its_rate_rarely_refuses(workers: int) -> None:
    """Half a second passes until a refusal is known, in which more are sent at the same rate."""
    origin = RatedOrigin(latency=0.5, rate=50, refusal=status(429))
    batch = process(origin, 1_000, workers=workers)
    assert batch.succeeded == 1_000
    assert batch.seconds <= 1.5 * 20
    assert origin.seen["refused"] <= 100


@pytest.mark.parametrize("workers", [2, 8])
def test_a_first_guess_that_is_far_too_low_is_soon_improved_by_several_workers(workers: int) -> None:
    """Other workers, which do not know of the first refusal yet, cause the next ones; the rate is higher."""
    origin = RatedOrigin(rate=200, refusal=status(429))
    batch = process(origin, 2_000, workers=workers)
    assert batch.succeeded == 2_000
    assert batch.seconds <= 1.7 * 10
    assert origin.seen["refused"] <= 80


@pytest.mark.parametrize("latency", [0.005, 0.15])
@pytest.mark.parametrize("burst", [0.2, 1])
@pytest.mark.parametrize(("rate", "seconds", "refused"), [(50, 8, 0.25), (200, 8, 0.1), (50, 60, 0.05), (5, 300, 0.08)])
def test_a_host_that_limits_its_rate_is_used(
    rate: float, seconds: float, refused: float, burst: float, latency: float
) -> None:
    """Until the first refusal its rate is unknown; so a short batch has more of them."""
    origin = RatedOrigin(latency=latency, rate=rate, burst=rate * burst, refusal=status(429))
    images = int(rate * seconds)
    batch = process(origin, images, workers=1)
    assert batch.succeeded == images
    assert images / batch.seconds >= 0.88 * rate
    assert origin.seen["refused"] <= refused * images


@pytest.mark.parametrize("retry_after", [False, True])
def test_a_host_that_counts_by_the_minute_is_asked_for_a_minutes_worth_in_a_minute(retry_after: bool) -> None:
    origin = CountingOrigin(retry_after=retry_after)
    batch = process(origin, 1_200, workers=1)
    assert batch.succeeded == 1_200
    assert batch.seconds <= 1.3 * 20 * 60
    assert origin.seen["refused"] <= 600


# -- hosts that are away ----------------------------------------------------------------------------------------------


OUTAGES = [
    (300, status(500)),
    *((seconds, refusal) for seconds in (15, 60) for refusal in (ConnectError, status(500), status(502), status(503))),
]


@pytest.mark.parametrize(("seconds", "refusal"), OUTAGES)
def test_an_outage_in_the_middle_costs_no_image(seconds: float, refusal: Callable[[], AssetError]) -> None:
    origin = AwayOrigin(latency=0.1, refusal=refusal, seconds=seconds)
    batch = process(origin, 3_000)
    assert batch.succeeded == 3_000
    assert origin.seen["refused"] <= 600
    assert batch.seconds <= 3 + seconds + 12  # a probe every ten seconds, with jitter


@pytest.mark.parametrize("images", [1, 1_000])
def test_a_host_that_stays_away_fails_its_images_with_its_code_after_the_patience(images: int) -> None:
    origin = AwayOrigin(latency=0.1, refusal=ConnectError, seconds=1e9, after=0)
    batch = process(origin, images, patience=300.0)
    assert batch.errors == {"connect_error": images}
    assert 300 <= batch.seconds <= 330
    assert origin.seen["refused"] <= 150


def test_a_host_that_pauses_for_ever_is_given_up_in_time() -> None:
    origin = AwayOrigin(latency=0.1, refusal=status(429, 3_600), seconds=1e9, after=0)
    batch = process(origin, 200, give_up_after=86_400)
    assert batch.errors == {"http_429": 200}
    assert batch.seconds == pytest.approx(86_400, abs=10)
    assert origin.seen["refused"] <= 100


def test_images_of_a_host_that_answers_only_500_fail_within_minutes() -> None:
    origin = AwayOrigin(latency=0.1, refusal=status(500), seconds=1e9, after=0)
    batch = process(origin, 50)
    assert batch.errors == {"http_500": 50}
    assert batch.seconds <= 180


# -- images that are to blame -----------------------------------------------------------------------------------------


@dataclass
class FaultyOrigin(ModelOrigin):
    """Answers every `every`-th URL with `status`."""

    every: int = 10
    status: int = 500

    async def respond(self, url: str) -> None:
        await asyncio.sleep(self.latency)
        if int(url.rpartition("/")[2].removesuffix(".jpg")) % self.every == 7:
            raise HttpStatusError(self.status)


@dataclass
class BadEndOrigin(ModelOrigin):
    """Answers the URLs from the 100th on with `status`."""

    status: int = 500

    async def respond(self, url: str) -> None:
        await asyncio.sleep(self.latency)
        if int(url.rpartition("/")[2].removesuffix(".jpg")) >= 100:
            raise HttpStatusError(self.status)


@pytest.mark.parametrize("status_code", [500, 503])
def test_one_bad_url_among_good_ones_fails_after_three_attempts(status_code: int) -> None:
    origin = FaultyOrigin(every=10**9, status=status_code)
    batch = process(origin, 2_000)
    assert (batch.succeeded, batch.errors) == (1_999, {f"http_{status_code}": 1})
    assert batch.attempts[7] == 3
    assert origin.seen["refused"] <= 20


@pytest.mark.parametrize("every", [50, 8])
def test_many_bad_urls_fail_and_take_no_good_image_with_them(every: int) -> None:
    batch = process(FaultyOrigin(every=every), 1_000)
    bad = len(range(7, 1_000, every))
    assert (batch.succeeded, batch.errors) == (1_000 - bad, {"http_500": bad})
    assert batch.seconds <= 300


@pytest.mark.parametrize("status_code", [500, 503])
def test_bad_urls_at_the_end_fail_soon_because_the_host_still_sends_other_images(status_code: int) -> None:
    origin = BadEndOrigin(status=status_code)
    batch = process(origin, 120)
    assert (batch.succeeded, batch.errors) == (100, {f"http_{status_code}": 20})
    assert batch.seconds <= 60


# -- latency ----------------------------------------------------------------------------------------------------------


@dataclass
class MixedOrigin(ModelOrigin):
    """Every third body takes two seconds to transfer."""

    async def transfer(self, url: str) -> None:
        if int(url.rpartition("/")[2].removesuffix(".jpg")) % 3 == 0:
            await asyncio.sleep(2)


@dataclass
class ChangingOrigin(ModelOrigin):
    """Is slower from the tenth to the fortieth second."""

    async def respond(self, url: str) -> None:
        await asyncio.sleep(1.0 if 10 < self.now - self.asked_at[0] < 40 else self.latency)


@pytest.mark.parametrize("latency", [0.15, 0.4])
def test_a_host_of_constant_latency_is_used_to_the_maximum_within_a_few_round_trips(latency: float) -> None:
    origin = ModelOrigin(latency=latency)
    batch = process(origin, 2_000, workers=1)
    assert origin.most_in_flight == 64
    assert origin.peak_at - batch.began_at <= 6 * latency + 0.5


def test_bodies_of_different_sizes_do_not_lower_the_limit() -> None:
    origin = MixedOrigin()
    batch = process(origin, 3_000)
    assert batch.succeeded == 3_000
    assert batch.seconds <= 1.7 * 3_000 * (0.15 + 2 / 3) / 128


def test_a_host_that_becomes_slower_and_faster_again_is_used_all_the_time() -> None:
    batch = process(ChangingOrigin(), 14_000, workers=1)
    assert batch.succeeded == 14_000
    ideal = 10 * 64 / 0.15 + 30 * 64 / 1.0
    assert sum(at - batch.began_at <= 40 for at in batch.ended_at) >= 0.75 * ideal


def test_a_second_key_gets_its_turn_at_a_slow_host() -> None:
    async def main() -> Batch:
        large = [
            Batch([f"http://shop.example/{n}-{number}.jpg" for number in range(50)], Flow("large", str(n)))
            for n in range(20)
        ]
        small = Batch([f"http://shop.example/s{number}.jpg" for number in range(5)], Flow("small", "one"))
        await simulate(QueuedOrigin(latency=0.5, places=1), *large, small, workers=1, within=5_000)
        return small

    assert run_in_virtual_time(main()).seconds <= 30
