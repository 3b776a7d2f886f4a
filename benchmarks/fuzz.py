"""Mutated CSVs, addresses and images against what reads them, until the time is up; no packet is sent.

    python benchmarks/fuzz.py [--seconds 60] [--seed 1] [--save DIR] [manifest|addresses|images]

An input follows from seed and number alone. Each process has bounds of memory and CPU, so that a crash or a hang is
seen and belongs to one input. The exit code is 1 when anything came up that is not declared.
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

SURFACES: dict[str, Callable[[Path], Surface]] = {"manifest": Manifests, "addresses": Addresses, "images": Images}
CORPORA = Path(__file__).resolve().parents[2] / "shared" / "corpora"
MOST_MEMORY = 2 * 2**30  # bytes of addresses
MOST_SECONDS = 30.0
"""Of CPU, for one input."""
GRACE = 60.0
"""Seconds after the end until what waits for nothing is killed."""


class Run(NamedTuple):
    """What the processes are told; `start` and `step` say which numbers are theirs."""

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
    """`peak` is that of the process so far, in bytes; `fault` is the traceback of what is not declared."""

    number: int = -1
    what: str = ""
    seconds: float = 0.0
    peak: int = 0
    fault: str = ""


def work(run: Run, answers: Connection) -> None:
    """Try one input after the other; a process of its own."""
    resource.setrlimit(resource.RLIMIT_AS, (MOST_MEMORY, MOST_MEMORY))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    surface = SURFACES[run.surface](run.corpora)
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stderr.fileno())  # libtiff has much to say
    for number in range(run.start, run.inputs, run.step):
        if monotonic() > run.until:
            break
        case = run.case(surface, number)
        signal.setitimer(signal.ITIMER_PROF, MOST_SECONDS)  # nobody handles the signal: it ends the process
        answers.send(tried(surface, case, number))
        signal.setitimer(signal.ITIMER_PROF, 0)


def tried(surface: Surface, case: Case, number: int) -> Outcome:
    began, fault = process_time(), ""
    try:
        what = surface.attempt(case)
    except Exception as exc:  # every error that is not declared is a finding, which is told and saved
        frames = traceback.extract_tb(exc.__traceback__)
        frame = next(one for one in reversed(frames) if "site-packages" not in one.filename)
        what = f"{type(exc).__name__} at {Path(frame.filename).name}:{frame.lineno}"
        fault = traceback.format_exc()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return Outcome(number, what, process_time() - began, peak, fault)


@dataclass
class WorkerStats:
    """What came of all inputs."""

    count: int = 0
    whats: Counter[str] = field(default_factory=Counter)
    slowest: Outcome = field(default_factory=Outcome)
    heaviest: Outcome = field(default_factory=Outcome)
    firsts: dict[str, Outcome] = field(default_factory=dict)
    """Of each kind."""

    def add(self, outcome: Outcome) -> None:
        self.count += 1
        self.whats[outcome.what] += 1
        self.slowest = max(self.slowest, outcome, key=lambda one: one.seconds)
        self.heaviest = max(self.heaviest, outcome, key=lambda one: one.peak)
        self.firsts.setdefault(outcome.what, outcome)

    @property
    def faults(self) -> list[Outcome]:
        return [outcome for outcome in self.firsts.values() if outcome.fault]


def outcomes(run: Run, processes: int) -> Iterator[Outcome]:
    """Of a pool; a process that died is replaced, and its last input is the one that it died of."""
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
    here, there = context.Pipe(duplex=False)
    process = context.Process(target=work, args=(run, there), daemon=True)
    process.start()
    there.close()
    return here, (process, run)


def _death(exit_code: int) -> str:
    return f"killed by {signal.Signals(-exit_code).name}" if exit_code < 0 else f"exit code {exit_code}"


def report(run: Run, stats: WorkerStats) -> Iterator[str]:
    accepted = sum(count for what, count in stats.whats.items() if what.startswith("accepted"))
    yield f"{run.surface}, seed {run.seed}: {stats.count:,} inputs, {accepted:,} accepted"
    for what, count in stats.whats.most_common():
        first = stats.firsts[what]
        yield f"  {count:9,}  {'UNDECLARED ' if first.fault else ''}{what}; first: input {first.number}"
    yield f"  slowest: {stats.slowest.seconds:.2f} s of CPU, input {stats.slowest.number}, {stats.slowest.what}"
    yield f"  peak memory: {stats.heaviest.peak / 1e6:.0f} MB, input {stats.heaviest.number}, {stats.heaviest.what}"
    for outcome in stats.faults:
        yield f"\ninput {outcome.number}: {outcome.fault}"


def save(run: Run, stats: WorkerStats, folder: Path) -> None:
    """The first input of each fault, and the two that took the most."""
    folder.mkdir(parents=True, exist_ok=True)
    surface = SURFACES[run.surface](run.corpora)
    for outcome in {*stats.faults, stats.slowest, stats.heaviest}:
        case, path = run.case(surface, outcome.number), folder / f"{run.surface}-{run.seed}-{outcome.number}"
        path.write_bytes(case.data)
        path.with_suffix(".txt").write_text(f"{case.plan!r}\n{outcome.seconds:.2f} s, {outcome.what}\n{outcome.fault}")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("surface", nargs="?", choices=list(SURFACES), help="all, unless named")
    parser.add_argument("--seconds", type=float, default=60.0, help="for each surface")
    parser.add_argument("--inputs", type=int, default=sys.maxsize, help="at most, for each surface")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--corpora", type=Path, default=CORPORA)
    parser.add_argument("--save", type=Path, help="folder for the inputs of faults, the slowest and the heaviest")
    wanted, failed = parser.parse_args(), False
    for name in [wanted.surface] if wanted.surface else SURFACES:
        until = monotonic() + wanted.seconds
        run, stats = Run(name, wanted.corpora, wanted.seed, wanted.inputs, until, 0, 1), WorkerStats()
        for outcome in outcomes(run, wanted.processes):
            stats.add(outcome)
        print("\n".join(report(run, stats)), flush=True)
        if wanted.save:
            save(run, stats, wanted.save)
        failed |= bool(stats.faults)
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
