"""Fuzzing of the readers of CSVs, addresses, images and tables with mutated inputs until a deadline; no packet is sent.

    python benchmarks/fuzz.py [--seconds 60] [--seed 1] [--save DIR] [manifest|addresses|images|tables]

Seed and number determine an input. Each process has limits of memory and CPU time, so that a crash or a hang is
detected and attributed to one input. The exit code is 1 if there was an undeclared error.
"""

import argparse
import multiprocessing
import os
import resource
import signal
import sys
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from pathlib import Path
from random import Random
from time import monotonic, process_time
from typing import NamedTuple

from fuzzing.addresses import Addresses
from fuzzing.images import Images
from fuzzing.manifests import Manifests
from fuzzing.mutations import Case, Surface
from fuzzing.tables import Tables

SURFACES: dict[str, Callable[[Path], Surface]] = {
    "manifest": Manifests,
    "addresses": Addresses,
    "images": Images,
    "tables": Tables,
}
CORPORA = Path(__file__).resolve().parents[2] / "shared" / "corpora"
MAX_MEMORY = 2 * 2**30  # bytes of address space
MAX_SECONDS = 30.0
"""CPU seconds for one input."""
GRACE = 60.0
"""Seconds after the deadline until a stuck process is killed."""


class Run(NamedTuple):
    """The parameters of a process; `start` and `step` select the numbers of its inputs."""

    surface: str
    corpora: Path
    seed: int
    inputs: int
    until: float
    start: int
    step: int

    def case(self, surface: Surface, number: int) -> Case:
        return surface.make(Random(f"{self.seed}/{number}"))


class Outcome(NamedTuple):
    """The outcome of one input: `peak` is the process's memory in bytes, `fault` an undeclared error with traceback."""

    number: int = -1
    what: str = ""
    seconds: float = 0.0
    peak: int = 0
    fault: str = ""


def work(run: Run, answers: Connection) -> None:
    """Try one input after another, in a child process."""
    resource.setrlimit(resource.RLIMIT_AS, (MAX_MEMORY, MAX_MEMORY))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    surface = SURFACES[run.surface](run.corpora)
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stderr.fileno())  # libtiff prints many warnings
    for number in range(run.start, run.inputs, run.step):
        if monotonic() > run.until:
            break
        case = run.case(surface, number)
        signal.setitimer(signal.ITIMER_PROF, MAX_SECONDS)  # no handler: the signal ends the process
        answers.send(attempt(surface, case, number))
        signal.setitimer(signal.ITIMER_PROF, 0)


def attempt(surface: Surface, case: Case, number: int) -> Outcome:
    begin, fault = process_time(), ""
    try:
        what = surface.attempt(case)
    except Exception as exc:  # every undeclared error is a finding; it is reported and saved
        frames = traceback.extract_tb(exc.__traceback__)
        frame = next(frame for frame in reversed(frames) if "site-packages" not in frame.filename)
        what = f"{type(exc).__name__} at {Path(frame.filename).name}:{frame.lineno}"
        fault = traceback.format_exc()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return Outcome(number, what, process_time() - begin, peak, fault)


@dataclass
class FuzzStats:
    """The outcomes of all inputs."""

    count: int = 0
    whats: Counter[str] = field(default_factory=Counter)
    slowest: Outcome = field(default_factory=Outcome)
    heaviest: Outcome = field(default_factory=Outcome)
    firsts: dict[str, Outcome] = field(default_factory=dict)
    """The first outcome of each kind."""

    def add(self, outcome: Outcome) -> None:
        self.count += 1
        self.whats[outcome.what] += 1
        self.slowest = max(self.slowest, outcome, key=lambda each: each.seconds)
        self.heaviest = max(self.heaviest, outcome, key=lambda each: each.peak)
        self.firsts.setdefault(outcome.what, outcome)

    @property
    def faults(self) -> list[Outcome]:
        return [outcome for outcome in self.firsts.values() if outcome.fault]


def outcomes(run: Run, processes: int) -> Iterator[Outcome]:
    """Yield the outcomes of a pool of processes; a dead process is replaced, and its last input is the cause."""
    in_flight = dict(_started(run._replace(start=start, step=processes)) for start in range(processes))
    while in_flight:
        ready = wait(list(in_flight), timeout=max(0.0, run.until + GRACE - monotonic()))
        for answers in ready or list(in_flight):
            assert isinstance(answers, Connection)
            process, mine = in_flight[answers]
            try:
                outcome = answers.recv() if ready else None
            except EOFError:
                outcome = None
            if outcome is not None:
                yield outcome
                in_flight[answers] = (process, mine._replace(start=outcome.number + processes))
                continue
            del in_flight[answers]
            if not ready:
                process.kill()
            process.join()
            if process.exitcode:
                yield Outcome(mine.start, _death(process.exitcode), fault="The process died.")
                in_flight |= [_started(mine._replace(start=mine.start + processes))] if ready else []


def _started(run: Run) -> tuple[Connection, tuple[BaseProcess, Run]]:
    context = multiprocessing.get_context("spawn")
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=work, args=(run, sender), daemon=True)
    process.start()
    sender.close()
    return receiver, (process, run)


def _death(exit_code: int) -> str:
    return f"killed by {signal.Signals(-exit_code).name}" if exit_code < 0 else f"exit code {exit_code}"


def report(run: Run, stats: FuzzStats) -> Iterator[str]:
    accepted = sum(count for what, count in stats.whats.items() if what.startswith("accepted"))
    yield f"{run.surface}, seed {run.seed}: {stats.count:,} inputs, {accepted:,} accepted"
    for what, count in stats.whats.most_common():
        first = stats.firsts[what]
        yield f"  {count:9,}  {'UNDECLARED ' if first.fault else ''}{what}; first: input {first.number}"
    yield f"  slowest: {stats.slowest.seconds:.2f} s of CPU, input {stats.slowest.number}, {stats.slowest.what}"
    yield f"  peak memory: {stats.heaviest.peak / 1e6:.0f} MB, input {stats.heaviest.number}, {stats.heaviest.what}"
    for outcome in stats.faults:
        yield f"\ninput {outcome.number}: {outcome.fault}"


def save(run: Run, stats: FuzzStats, folder: Path) -> None:
    """Save the first input of each fault, the slowest input, and the one with the most memory."""
    folder.mkdir(parents=True, exist_ok=True)
    surface = SURFACES[run.surface](run.corpora)
    for outcome in {*stats.faults, stats.slowest, stats.heaviest}:
        case, path = run.case(surface, outcome.number), folder / f"{run.surface}-{run.seed}-{outcome.number}"
        path.write_bytes(case.data)
        path.with_suffix(".txt").write_text(f"{case.plan!r}\n{outcome.seconds:.2f} s, {outcome.what}\n{outcome.fault}")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("surface", nargs="?", choices=list(SURFACES), help="default: all")
    parser.add_argument("--seconds", type=float, default=60.0, help="per surface")
    parser.add_argument("--inputs", type=int, default=sys.maxsize, help="maximum per surface")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--corpora", type=Path, default=CORPORA)
    parser.add_argument(
        "--save", type=Path, help="folder for the inputs of faults, the slowest input and the one with the most memory"
    )
    options, failed = parser.parse_args(), False
    for name in [options.surface] if options.surface else SURFACES:
        until = monotonic() + options.seconds
        run, stats = Run(name, options.corpora, options.seed, options.inputs, until, 0, 1), FuzzStats()
        for outcome in outcomes(run, options.processes):
            stats.add(outcome)
        print("\n".join(report(run, stats)), flush=True)
        if options.save:
            save(run, stats, options.save)
        failed |= bool(stats.faults)
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
