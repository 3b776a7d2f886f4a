"""`make chaos`: cause seeded faults on each database and report how imgsvc coped."""

import argparse
import asyncio
import secrets
import sys
from collections import Counter
from collections.abc import Callable, Mapping

from rich.console import Console
from rich.table import Table

from chaos.driver import Result, run
from chaos.stage import Database

LONGEST_FAULT = 6.0
DATABASES: tuple[Database, ...] = ("sqlite", "postgres")

console = Console(highlight=False, soft_wrap=True)


def main() -> int:
    """Run from the command line; return 1 if a promise was broken."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", default=secrets.token_hex(3), help="repeat the run with this seed (default: random)")
    parser.add_argument("--minutes", type=float, default=3, help="minutes of faults on each database (default: 3)")
    parser.add_argument("--database", choices=DATABASES, help="only this database")
    parser.add_argument("--only", default="", metavar="WORD", help="only faults with this word in their name")
    options = parser.parse_args()
    results = [
        asyncio.run(
            run(database, options.seed, seconds=60 * options.minutes, longest=LONGEST_FAULT, say=say, only=options.only)
        )
        for database in DATABASES
        if options.database in (None, database)
    ]
    console.print(report(results))
    for result in results:
        for violation in result.violations:
            console.print(f"{result.database}: {violation}", style="red", markup=False)
        if result.kept_in:
            console.print(f"{result.database}: data and logs are in {result.kept_in}")
    return int(any(result.violations for result in results))


def say(text: str) -> None:
    console.print(text, markup=False)


def report(results: list[Result]) -> Table:
    table = Table("", show_lines=True)
    for result in results:
        table.add_column(result.database, no_wrap=True)
    rows: dict[str, Callable[[Result], str]] = {
        "seed": lambda r: r.seed,
        "seconds": lambda r: f"{r.seconds:.0f}",
        "faults": lambda r: counted(r.faults),
        "batches": lambda r: counted(r.orders),
        "slowest batch": lambda r: f"{r.slowest:.0f} s",
        "images checked": lambda r: str(r.images),
        "refused by paced origins": lambda r: counted(r.refused),
        "before the small order": lambda r: "" if r.before_small is None else str(r.before_small),
        "failed in an outage": lambda r: counted(r.excused),
        "API calls": lambda r: str(r.calls),
        "repeated": lambda r: counted(r.repeated),
        "events": lambda r: f"{len(r.events)}, in {sum(event.arrived for event in r.events)} attempts",
        "violations": lambda r: str(len(r.violations)),
    }
    for name, cell in rows.items():
        table.add_row(name, *(cell(result) for result in results))
    return table


def counted(counts: Mapping[str, int]) -> str:
    """Return the sum, and a line for each count."""
    lines = (f"{count:5d} {name}" for name, count in Counter(counts).most_common())
    return "\n".join((str(sum(counts.values())), *lines))


if __name__ == "__main__":
    sys.exit(main())
