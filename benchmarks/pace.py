"""Origins of every kind: how near its capacity each is asked, and how often one that has a limit must refuse.

    python benchmarks/pace.py [--seconds 20] [--workers 2]

Images of 300 px, so that it is the origin that is slow and not the compressing.
"""

import argparse
import asyncio
from time import perf_counter

import httpx

from processes import manifest, origin, service, urls

QUICKEST = 500.0
"""Images a second that a case is laid out for where the origin sets no limit."""
CASES = (
    {"latency": 0.0},
    {"latency": 0.15},
    {"latency": 0.5},
    {"slow_share": 0.05},
    {"latency": 0.15, "slow_share": 0.05},
    *({"latency": latency, "rate": rate} for rate in (50, 200) for latency in (0.0, 0.15, 0.5)),
)


async def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=20, help="how long a case should take")
    parser.add_argument("--workers", default="2")
    options = parser.parse_args()
    print("| origin | images/s | of its capacity | refused, for each image | failed |\n|---|---|---|---|---|")
    async with service("--workers", options.workers) as started:
        for case in CASES:
            rate = case.get("rate")
            count = int(options.seconds * (rate or QUICKEST))
            async with origin(side=300, **case) as url, httpx.AsyncClient(trust_env=False) as client:
                began = perf_counter()
                path = await started.upload(manifest(urls(url, count, catalogue="pace")))
                await started.ended(path)
                speed = count / (perf_counter() - began)
                batch = (await started.client.get(path)).json()
                refused = (await client.get(f"{url}/figures")).json().get("refused", 0)
            share = f"{speed / rate:.0%}" if rate else ""
            failed = batch["counts"]["assets"]["failed"]
            print(f"| {_words(case)} | {speed:.0f} | {share} | {refused / count:.1%} | {failed} |", flush=True)


def _words(case: dict[str, float]) -> str:
    parts = [f"{case.get('latency', 0) * 1000:.0f} ms"]
    if "slow_share" in case:
        parts.append(f"{case['slow_share']:.0%} of the URLs take 3 s")
    if "rate" in case:
        parts.append(f"429 above {case['rate']:.0f}/s")
    return ", ".join(parts)


if __name__ == "__main__":
    asyncio.run(main())
