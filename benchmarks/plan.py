"""What a whole run measures, in order, and how much of it with QUICK=1.

Each part makes what it needs and removes it; the figures of all parts become one flat object.
"""

import shutil
import statistics
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from borealis_engine.postgres.account import Account
from borealis_engine.postgres.binaries import Binaries

from benchmarks import failover, lag, settings, stages, tpcb
from benchmarks.cluster import Cluster
from benchmarks.pgbench import PgBench
from benchmarks.stock import Stock
from benchmarks.tpcb import BOREALIS, Say

FIRST_PORT: Final = 25390  # below the range from which systems take the ports of outgoing connections
PARTS: Final = ("tpcb", "stages", "cluster")


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """How much is measured."""

    scale: int
    rounds: int
    seconds: float  # of one measurement
    warm_s: float
    kills: int
    probes: int  # of the lag
    commits: int  # of the stages
    clients: tuple[int, ...] = (1, 16)


FULL: Final = Size(scale=50, rounds=5, seconds=10, warm_s=10, kills=10, probes=500, commits=3000)
QUICK: Final = Size(scale=5, rounds=3, seconds=3, warm_s=3, kills=2, probes=100, commits=300)


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """A run on one machine."""

    size: Size
    scratch: Path
    binaries: Binaries
    account: Account | None
    say: Say

    def measure(self, parts: Sequence[str]) -> dict[str, str | float]:
        """Measure the parts that are asked for."""
        found: dict[str, str | float] = {}
        if "tpcb" in parts:
            found |= self._tpcb()
        if "stages" in parts:
            self.say("following commits through the agent, the members and their disks")
            found |= stages.measure(self.scratch / "stages", commits=self.size.commits)
        if "cluster" in parts:
            found |= self._cluster()
        return found

    def _tpcb(self) -> dict[str, str | float]:
        size, bench = self.size, PgBench(program=self.binaries.path("pgbench"), scratch=self.scratch)
        with ExitStack() as stack:
            self.say("starting Borealis in local mode")
            cluster = stack.enter_context(self._running("tpcb", readers=0))
            ours = settings.ask(cluster.database)
            stocks = [stack.enter_context(self._stock(name, ours)) for name in tpcb.BASELINES]
            databases = {BOREALIS: cluster.database, **{stock.name: stock.database for stock in stocks}}
            for name, database in databases.items():
                self.say(f"loading scale {size.scale} into {name}")
                bench.load(database, size.scale)
                bench.measure(database, clients=max(size.clients), seconds=size.warm_s)
            rounds = tpcb.measure(
                bench, databases, clients=size.clients, rounds=size.rounds, seconds=size.seconds, say=self.say
            )
            told = settings.differences({name: settings.ask(each) for name, each in databases.items()})
        return {**tpcb.summarise(rounds), **told}

    def _cluster(self) -> dict[str, str | float]:
        self.say("starting a cluster with readers")
        scratch, readers = self.scratch / "failover", failover.READERS
        scratch.mkdir()
        with self._running("cluster", readers=readers) as cluster:
            cluster.until(lambda: cluster.whole(readers), "the cluster does not become whole")
            seen = lag.measure(cluster.database, cluster.instance(cluster.readers()[0]), probes=self.size.probes)
            self.say(f"lag: median {seen.p50_ms} ms, 99th percentile {seen.p99_ms} ms")
            gaps = failover.kills(cluster, scratch, count=self.size.kills, say=self.say)
            took = failover.add_reader(cluster, readers=readers)
            self.say(f"one reader more in {took:.2f} s")
        return {
            "failover.sigkill.median_s": round(statistics.median(gaps), 2),
            "failover.sigkill.max_s": round(max(gaps), 2),
            "failover.kills": len(gaps),
            "reader.ready_s": round(took, 2),
            "lag.p50_ms": seen.p50_ms,
            "lag.p99_ms": seen.p99_ms,
            "lag.probes": seen.probes,
        }

    @contextmanager
    def _running(self, name: str, *, readers: int) -> Iterator[Cluster]:
        cluster = Cluster(root=self.scratch / name)
        try:
            cluster.start(readers=readers, parameters=settings.CHECKPOINTS, size="50Gi")
            yield cluster
        finally:
            cluster.stop()
            shutil.rmtree(cluster.root, ignore_errors=True)

    @contextmanager
    def _stock(self, name: str, ours: dict[str, str]) -> Iterator[Stock]:
        self.say(f"starting stock PostgreSQL: {name}")
        stock = Stock(
            name=name,
            root=self.scratch / name,
            port=FIRST_PORT + tpcb.BASELINES.index(name),
            binaries=self.binaries,
            account=self.account,
            settings=settings.common(ours),
            synchronous=name == "any4",
        )
        try:
            stock.start()
            yield stock
        finally:
            stock.stop()
            shutil.rmtree(stock.root, ignore_errors=True)
