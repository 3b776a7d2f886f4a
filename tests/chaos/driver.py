"""One run: a stage, customers, a plan of faults, and checks at the end."""

import asyncio
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime
from random import Random

import httpx
from sqlmodel import col, select, update

from chaos import rush
from chaos.calls import Calls
from chaos.checks import FinalChecks, bugs
from chaos.customers import OPEN, Customers
from chaos.faults import faults_for
from chaos.orders import Catalogue
from chaos.owners import CUSTOMERS, Owner
from chaos.plan import History, Step, carry_out, plan
from chaos.receiver import Event
from chaos.stage import Database, Stage, clear, set_up
from imgsvc.db.engine import Sessions, open_sessions
from imgsvc.db.tables import Batch, Delivery
from support.command import imgsvc
from support.stack import until

Say = Callable[[str], None]
HANGS_AFTER = 90.0
"""Seconds without an answer after which a call counts as hanging; longer than a drain and a restart with backoff."""
END_WITHIN = 240.0
"""Seconds after the last fault within which every order must end."""


@dataclass
class Result:
    """The figures and findings of a run."""

    database: Database
    seed: str
    seconds: float = 0
    faults: Counter[str] = field(default_factory=Counter)
    orders: Counter[str] = field(default_factory=Counter)
    """Orders by their final status, or `deleted`."""
    slowest: float = 0
    """Seconds from the first upload to the end of the last round."""
    images: int = 0
    refused: Counter[str] = field(default_factory=Counter)
    """Requests that paced origins refused."""
    before_small: int | None = None
    """Images of the rush that were fetched before the last one of the small order."""
    excused: Counter[str] = field(default_factory=Counter)
    calls: int = 0
    repeated: Counter[str] = field(default_factory=Counter)
    events: list[Event] = field(default_factory=list)
    violations: list[str] = field(default_factory=list)
    kept_in: str = ""
    """The folder with data and logs, kept if there are violations."""


async def run(database: Database, seed: str, *, seconds: float, longest: float, say: Say, only: str = "") -> Result:
    """Cause faults of up to `longest` seconds for about `seconds`, wait until all work is done, and check the results.

    `only` restricts the faults to those with this text in their name.
    """
    result = Result(database, seed)
    async with set_up(database, clean_up_after=2 * longest + 2) as stage:
        history = History(say)
        say(f"{database}, seed {seed}, data and logs in {stage.folder}")
        try:
            steps = plan(Random(f"{seed}/{database}"), faults_for(database, only), seconds=seconds, longest=longest)
            await _play(stage, history, result, steps)
        except Exception as error:
            result.violations.append(f"the run failed: {error!r}")
            raise
        finally:
            result.seconds = history.now()
            result.faults = history.by_kind()
            result.kept_in = str(stage.folder) if result.violations else ""
    if not result.kept_in:
        clear(stage)
    return result


async def _play(stage: Stage, history: History, result: Result, steps: list[Step]) -> None:
    async with AsyncExitStack() as stack:
        calls = {owner.name: Calls(await stack.enter_async_context(_client(stage, owner))) for owner in stage.owners}
        customers = {name: _customers(name, calls[name], stage, history) for name in CUSTOMERS}
        await _cause_faults(customers, steps, stage, history, result)
        history.note("every order has ended")
        await until(stage.service.ready, within=END_WITHIN)
        result.before_small, late = await rush.rush(result.seed, customers["big"], customers["small"], stage.shop)
        result.violations += late
        sessions = open_sessions(stage.database_url)
        await _wait_until_idle(stage, sessions, result)
        history.note("all work is done")
        strangers = dict(zip(CUSTOMERS, [*list(calls.values())[1:], *calls.values()], strict=False))
        for owner in stage.owners:
            name = owner.name
            checks = FinalChecks(owner, calls[name], strangers[name], stage.receiver, history, sessions)
            await checks.run(customers[name].orders)
            result.violations += customers[name].violations + checks.violations
            result.images += checks.images
            result.excused += checks.excused
        await sessions.aclose()
    result.violations += [*stage.receiver.violations, *bugs(stage.folder / "up.log"), *await _deep_check(stage)]
    orders = [order for each in customers.values() for order in each.orders]
    result.orders = Counter("deleted" if order.is_deleted else order.status for order in orders)
    result.slowest = max(order.ended_at - order.sent_at for order in orders)
    result.refused = Counter({name: origin.refused for name, origin in stage.paced.items() if origin.requests})
    result.calls = sum(each.made for each in calls.values())
    result.repeated = sum((each.repeated for each in calls.values()), Counter())
    result.events = list(stage.receiver.events.values())
    code = await stage.service.stop()
    result.violations += [f"imgsvc up stopped with exit code {code}"] if code else []


def _client(stage: Stage, owner: Owner) -> httpx.AsyncClient:
    return httpx.AsyncClient(
        base_url=stage.service.url,
        headers={"Authorization": f"Bearer {owner.token}"},
        timeout=HANGS_AFTER,
        follow_redirects=True,
        trust_env=False,
    )


def _customers(owner: str, calls: Calls, stage: Stage, history: History) -> Customers:
    addresses = {name: origin.url("") for name, origin in stage.paced.items()}
    catalogue = Catalogue(owner, stage.shop, stage.proxies["origin"].url, addresses)
    return Customers(owner, calls, catalogue, stage.receiver, f"{stage.proxies['webhook'].url}/{owner}", history)


async def _cause_faults(
    customers: Mapping[str, Customers], steps: list[Step], stage: Stage, history: History, result: Result
) -> None:
    """Carry out the plan while customers send orders, and wait for the last order to end."""
    over = asyncio.Event()
    async with asyncio.TaskGroup() as group:
        streaming = [
            group.create_task(each.stream(result.seed, count=CUSTOMERS[name], over=over))
            for name, each in customers.items()
        ]
        await carry_out(steps, stage, history, Random(result.seed))
        over.set()
        try:
            await asyncio.wait_for(asyncio.gather(*streaming), END_WITHIN)
        except TimeoutError:
            orders = [order for each in customers.values() for order in each.orders]
            open_orders = [f"{order.label} {order.batch_id}" for order in orders if order.status in OPEN]
            result.violations.append(f"not ended within {END_WITHIN:g} s: {', '.join(open_orders)}")


async def _wait_until_idle(stage: Stage, sessions: Sessions, result: Result) -> None:
    """Wait until every process is back, every delivery is made, and the files of dead runs are removed.

    The attempt of a dead worker is repeated after a minute: here it is made due at once.
    """
    is_pending = col(Delivery.status) == "pending"
    awaits_clean_up = col(Batch.tidy_at).is_not(None)
    async with sessions.write() as session:
        await session.exec(update(Delivery).where(is_pending).values(due_at=datetime.now(UTC)))

    async def nothing_left() -> bool:
        async with sessions.read() as session:
            deliveries = (await session.exec(select(Delivery.id).where(is_pending))).all()
            clean_ups = (await session.exec(select(Batch.id).where(awaits_clean_up))).all()
        return not (deliveries or clean_ups)

    try:
        await until(stage.service.ready, within=END_WITHIN)
        await until(nothing_left, within=END_WITHIN)
    except AssertionError as error:
        result.violations.append(f"work is left undone: {error}")


async def _deep_check(stage: Stage) -> list[str]:
    done = await imgsvc("check", "--deep", "--grace", "0", cwd=stage.folder, within=120, **stage.service.environment)
    return [] if done.code == 0 else [f"imgsvc check --deep found: {done.out}{done.err}"]
