"""Commits per second of the volume alone: small appends by 1 and by 16 clients over six real storage nodes.

Run `python benchmarks/log_append.py [--seconds S] [--bytes N] [--directory D]`; all six nodes share one machine's disk.
"""

import argparse
import asyncio
import sys
import tempfile
from pathlib import Path

import uvloop
from borealis_engine.net.testing import StorageNodes, WriterDriver


async def measure(driver: WriterDriver, *, clients: int, size: int, seconds: float) -> tuple[float, list[float]]:
    """Give commits per second and the sorted seconds that each took."""
    loop, taken = asyncio.get_running_loop(), list[float]()
    until = loop.time() + seconds

    async def client() -> None:
        while (began := loop.time()) < until:
            await driver.append(bytes(size))
            taken.append(loop.time() - began)

    began = loop.time()
    await asyncio.gather(*(client() for _ in range(clients)))
    return len(taken) / (loop.time() - began), sorted(taken)


async def run(arguments: argparse.Namespace) -> None:
    """Start the nodes, warm up, measure, print."""
    with tempfile.TemporaryDirectory(dir=arguments.directory) as folder:
        async with StorageNodes(Path(folder)) as nodes, WriterDriver(nodes) as driver:
            await driver.reign()
            await measure(driver, clients=4, size=arguments.bytes, seconds=1.0)
            for clients in (1, 16):
                rate, taken = await measure(driver, clients=clients, size=arguments.bytes, seconds=arguments.seconds)
                middle, late = (1000 * taken[int(len(taken) * share)] for share in (0.5, 0.99))
                sys.stdout.write(
                    f"clients={clients} commits_per_second={rate:.0f} p50_ms={middle:.2f} p99_ms={late:.2f}\n"
                )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--bytes", type=int, default=300)
    parser.add_argument("--directory", default=None)
    uvloop.run(run(parser.parse_args()))
