"""Measures how close to its capacity each kind of origin is used, and how often one with a rate limit must refuse.

    python benchmarks/pace.py [--seconds 20] [--workers 2]

The images are 300 px wide, so that the origin is the bottleneck and not the compression.
"""

import argparse
import asyncio
from time import perf_counter

import httpx

from processes import manifest, origin, service, urls

UNLIMITED_RATE = 500.0
"""Images per second assumed for an origin without a rate limit, to choose the size of the batch."""
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
    parser.add_argument("--seconds", type=float, default=20, help="intended duration of each case")
    parser.add_argument("--workers", default="2")
    options = parser.parse_args()
    print("| origin | images/s | of its capacity | refused per image | failed |\n|---|---|---|---|---|")
    async with service("--workers", options.workers) as started:
        for case in CASES:
            rate = case.get("rate")
            count = int(options.seconds * (rate or UNLIMITED_RATE))
            async with origin(side=300, **case) as url, httpx.AsyncClient(trust_env=False) as client:
                began = perf_counter()
                path = await started.upload(manifest(urls(url, count, catalogue="pace")))
                await started.ended(path)
                speed = count / (perf_counter() - began)
                batch = (await started.client.get(path)).json()
                refused = (await client.get(f"{url}/stats")).json().get("refused", 0)
            share = f"{speed / rate:.0%}" if rate else ""
            failed = batch["counts"]["assets"]["failed"]
            print(f"| {_description(case)} | {speed:.0f} | {share} | {refused / count:.1%} | {failed} |", flush=True)


def _description(case: dict[str, float]) -> str:
    parts = [f"{case.get('latency', 0) * 1000:.0f} ms"]
    if "slow_share" in case:
        parts.append(f"{case['slow_share']:.0%} of the URLs take 3 s")
    if "rate" in case:
        parts.append(f"429 above {case['rate']:.0f}/s")
    return ", ".join(parts)


if __name__ == "__main__":
    asyncio.run(main())
