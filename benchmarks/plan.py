"""What a whole run measures, in order, and how much of it with QUICK=1.

Each part makes what it needs and removes it; the figures of all parts become one flat object.
"""

import shutil
import statistics
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from borealis_engine.postgres.account import Account
from borealis_engine.postgres.binaries import Binaries

from benchmarks import bulk, failover, gray, lag, repair, settings, stages, sustained, tpcb
from benchmarks.cluster import Cluster
from benchmarks.gray import Commits
from benchmarks.pgbench import PgBench
from benchmarks.stock import Stock
from benchmarks.tpcb import BOREALIS, Say, Target

FIRST_PORT: Final = 25390  # below the range from which systems take the ports of outgoing connections
PARTS: Final = ("tpcb", "copy", "gray", "repair", "stages", "cluster", "sustained")
_AGAINST_STOCK: Final = frozenset(("tpcb", "copy"))
_ALONE: Final = frozenset(("gray", "repair"))
_PORTS: Final = (*tpcb.BASELINES, "any4tls")


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """How much is measured."""

    scale: int
    rounds: int
    seconds: float  # of one measurement of pgbench
    warm_s: float
    copy_mb: float  # in all rounds together
    gray_s: float  # of one measurement
    repairs: int  # on an idle volume, and as many under load
    repair_mb: float
    repair_s: float  # of healthy commits before each
    kills: int
    probes: int  # of the lag
    commits: int  # of the stages
    long_scale: int  # of the sustained load
    long_rounds: int
    long_s: float  # of one of its turns
    clients: tuple[int, ...] = (1, 4, 16, 64)


FULL: Final = Size(
    scale=50, rounds=5, seconds=3, warm_s=10, copy_mb=1000, gray_s=4, repairs=5, repair_mb=1000, repair_s=8, kills=10,
    probes=500, commits=3000, long_scale=100, long_rounds=2, long_s=60,
)  # fmt: skip
QUICK: Final = Size(
    scale=5, rounds=2, seconds=1, warm_s=2, copy_mb=100, gray_s=1, repairs=1, repair_mb=100, repair_s=1, kills=2,
    probes=100, commits=300, long_scale=5, long_rounds=2, long_s=4, clients=(1, 16, 64),
)  # fmt: skip


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
        if (_AGAINST_STOCK | _ALONE) & set(parts):
            found |= self._writing(parts)
        if "stages" in parts:
            self.say("following commits through the agent, the members and their disks")
            found |= stages.measure(self.scratch / "stages", commits=self.size.commits)
        if "cluster" in parts:
            found |= self._cluster()
        if "sustained" in parts:
            found |= self._sustained()
        return found

    def _writing(self, parts: Sequence[str]) -> dict[str, str | float]:
        """Measure what needs a writer and no readers, all on one cluster."""
        bench = PgBench(program=self.binaries.path("pgbench"), scratch=self.scratch)
        found: dict[str, str | float] = {}
        self.say("starting Borealis in local mode")
        with self._running("writing", readers=0) as cluster:
            if _AGAINST_STOCK & set(parts):
                found |= self._against_stock(bench, cluster, parts)
            if _ALONE & set(parts):
                found |= self._alone(Commits.prepare(bench, cluster.database), cluster, parts)
        return found

    def _against_stock(self, bench: PgBench, cluster: Cluster, parts: Sequence[str]) -> dict[str, str | float]:
        size, found = self.size, dict[str, str | float]()
        with ExitStack() as stack:
            ours = settings.ask(cluster.database)
            stocks = [stack.enter_context(self._stock(name, ours)) for name in tpcb.BASELINES]
            targets = {BOREALIS: Target(database=cluster.database, roots=(cluster.supervisor,))}
            targets |= {stock.name: Target(database=stock.database, roots=stock.roots) for stock in stocks}
            if "tpcb" in parts:
                for name, target in targets.items():
                    self.say(f"loading scale {size.scale} into {name}")
                    bench.load(target.database, size.scale)
                    bench.measure(target.database, clients=16, seconds=size.warm_s)
                rounds = tpcb.measure(
                    bench, targets, clients=size.clients, rounds=size.rounds, seconds=size.seconds, say=self.say
                )
                for script, samples in rounds.items():
                    found |= tpcb.summarise(samples, script)
                found |= {**tpcb.latencies(rounds["tpcb"]), **tpcb.processor(rounds["tpcb"])}
            if "copy" in parts:
                found |= bulk.summarise(
                    bulk.measure(targets, rounds=size.rounds, megabytes=size.copy_mb, say=self.say)
                )  # fmt: skip
            told = settings.differences({name: settings.ask(each.database) for name, each in targets.items()})
        return {**found, **told}

    def _alone(self, commits: Commits, cluster: Cluster, parts: Sequence[str]) -> dict[str, float]:
        size, found = self.size, dict[str, float]()
        if "gray" in parts:
            self.say("commits with two members delayed, and with one frozen")
            found |= gray.summarise(
                gray.measure(cluster, commits, rounds=size.rounds, seconds=size.gray_s, say=self.say)
            )  # fmt: skip
        if "repair" in parts:
            took = repair.measure(
                cluster, commits, rounds=size.repairs, megabytes=size.repair_mb, seconds=size.repair_s, say=self.say
            )
            found |= repair.summarise(took)
        return found

    def _sustained(self) -> dict[str, float]:
        """Measure with default checkpoints, on servers of their own."""
        size, bench = self.size, PgBench(program=self.binaries.path("pgbench"), scratch=self.scratch)
        self.say("starting Borealis in local mode, with default checkpoints")
        with self._running("sustained", readers=0, parameters={}) as cluster, ExitStack() as stack:
            ours = settings.ask(cluster.database)
            targets = {BOREALIS: Target(database=cluster.database)}
            for name in sustained.BASELINES:
                stock = stack.enter_context(self._stock(name, ours, checkpoints={}))
                targets[name] = Target(database=stock.database)
            sustained.prepare(bench, targets, scale=size.long_scale, warm_s=size.warm_s, say=self.say)
            turns = sustained.measure(bench, targets, rounds=size.long_rounds, seconds=size.long_s, say=self.say)
        return sustained.summarise(turns)

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
    def _running(
        self, name: str, *, readers: int, parameters: Mapping[str, str] = settings.CHECKPOINTS
    ) -> Iterator[Cluster]:  # fmt: skip
        cluster = Cluster(root=self.scratch / name)
        try:
            cluster.start(readers=readers, parameters=parameters, size="50Gi")
            yield cluster
        finally:
            cluster.stop()
            shutil.rmtree(cluster.root, ignore_errors=True)

    @contextmanager
    def _stock(
        self, name: str, ours: dict[str, str], *, checkpoints: Mapping[str, str] = settings.CHECKPOINTS
    ) -> Iterator[Stock]:  # fmt: skip
        self.say(f"starting stock PostgreSQL: {name}")
        stock = Stock(
            name=name,
            root=self.scratch / name,
            port=FIRST_PORT + _PORTS.index(name),
            binaries=self.binaries,
            account=self.account,
            settings=settings.common(ours, checkpoints),
            synchronous=name in sustained.BASELINES,
            fsync=name != "nofsync",
            tls=name == "any4tls",
        )
        try:
            stock.start()
            yield stock
        finally:
            stock.stop()
            shutil.rmtree(stock.root, ignore_errors=True)
