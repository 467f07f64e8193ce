"""The tables of docs/performance.md, from the flat object of results; what was not measured has no table or row."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final, TypeAlias

Results: TypeAlias = Mapping[str, str | float]
CONFIGURATIONS: Final = {
    "borealis": "Borealis, local mode",
    "any4": "PostgreSQL, six receivers, ANY 4",
    "any4tls": "PostgreSQL, six receivers over TLS, ANY 4",
    "fsync": "PostgreSQL, fsync, one copy",
    "nofsync": "PostgreSQL, fsync=off: the ceiling",
}
BASELINES: Final = ("any4", "fsync", "nofsync")
GROUPS: Final = {
    "postgres": "PostgreSQL",
    "walsenders": "walsenders",
    "log_writer": "log writer (agent)",
    "storage_nodes": "six storage nodes",
    "receivers": "six receivers",
    "all": "all",
}
OTHERS: Final = (
    ("gray.commit_p99_ratio", "p99 of commits, two of six members delayed by 200 ms / healthy"),
    ("gray.delayed.p99_ms", "two delayed: p99, ms"),
    ("gray.frozen_p99_ratio", "p99 of commits, one member frozen / healthy"),
    ("gray.frozen.p99_ms", "one frozen: p99, ms"),
    ("gray.healthy.p99_ms", "healthy: p99, ms"),
    ("repair.mb", "repair on an idle volume: log that a member missed, MB"),
    ("repair.mb_s", "it catches up with, MB/s"),
    ("repair.vs_copy", "the same / a plain copy of as much journal"),
    ("repair.until_current_s", "from its node's power until it is current, s"),
    ("repair.loaded.mb_s", "repair while four clients commit: it catches up with, MB/s"),
    ("repair.commit_p99_ratio", "p99 of commits during that repair / healthy"),
    ("repair.start_p99_ratio", "p99 of commits while that member starts and reads its disk / healthy"),
    ("failover.sigkill.median_s", "failover after SIGKILL of the writer's PostgreSQL, median, s"),
    ("failover.sigkill.max_s", "the same, slowest, s"),
    ("failover.kills", "kills"),
    ("reader.ready_s", "one reader more until it serves, s"),
    ("lag.p50_ms", "commit to visible on a reader, median, ms"),
    ("lag.p99_ms", "the same, 99th percentile, ms"),
)


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Give a table of Markdown."""
    lines = [head, tuple("---" for _ in head), *rows]
    return "\n" + "".join(f"| {' | '.join(line)} |\n" for line in lines) + "\n"


def clients_of(results: Results, part: str) -> list[int]:
    """Give the numbers of clients that `part` was measured with."""
    keys = (key.split(".") for key in results if key.startswith(f"{part}.c"))
    return sorted({int(words[1][1:]) for words in keys if words[1][1:].isdigit()})


def rates(part: str, title: str) -> Callable[[Results], str]:
    """Give what renders transactions per second, mean latencies, and ratios of a script."""

    def render(results: Results) -> str:
        clients = clients_of(results, part)
        rows = [
            (name, *(_figure(results, f"{part}.c{c}.{key}.{what}") for c in clients for what in ("tps", "latency_ms")))
            for key, name in CONFIGURATIONS.items()
            if any(f"{part}.c{c}.{key}.tps" in results for c in clients)
        ]
        for baseline in BASELINES:
            cells = [_ratio(results, f"{part}.c{c}.vs_{baseline}") for c in clients]
            if any(cells):
                rows.append((f"**Borealis / {baseline}**", *(cell for each in cells for cell in (each, ""))))
        head = (title, *(text for c in clients for text in (f"{_clients(c)}: tps", "latency, ms")))
        return table(head, rows) if clients else ""

    return render


def latencies(results: Results) -> str:
    """Render the percentiles of a transaction's latency."""
    clients = clients_of(results, "latency")
    columns = [(c, what) for c in clients for what in ("p50_ms", "p99_ms", "p999_ms")]
    rows = [
        (name, *(_figure(results, f"latency.c{c}.{key}.{what}") for c, what in columns))
        for key, name in CONFIGURATIONS.items()
        if any(f"latency.c{c}.{key}.p50_ms" in results for c in clients)
    ]
    ratio = {c: _ratio(results, f"latency.c{c}.p99_ratio") for c in clients}
    rows.append(("**Borealis / any4**", *(ratio[c] if what == "p99_ms" else "" for c, what in columns)))
    names = {"p50_ms": "p50, ms", "p99_ms": "p99", "p999_ms": "p99.9"}
    head = ("latency of TPC-B", *(f"{_clients(c)}: {names[w]}" if w == "p50_ms" else names[w] for c, w in columns))
    return table(head, rows) if clients else ""


def processor(results: Results) -> str:
    """Render the processor seconds of 1,000 commits."""
    columns = [(c, key) for c in clients_of(results, "cpu") for key in CONFIGURATIONS]
    columns = [(c, key) for c, key in columns if f"cpu.c{c}.{key}.all_s" in results]
    rows = [
        (title, *(_figure(results, f"cpu.c{c}.{key}.{group}_s") for c, key in columns))
        for group, title in GROUPS.items()
    ]  # fmt: skip
    head = ("processor seconds of 1,000 commits", *(f"{_clients(c)}: {key}" for c, key in columns))
    return table(head, rows) if columns else ""


def copy(results: Results) -> str:
    """Render bulk load."""
    rows = [
        (name, _figure(results, f"copy.{key}.mb_s"), "" if key == "borealis" else _ratio(results, f"copy.vs_{key}"))
        for key, name in CONFIGURATIONS.items()
        if f"copy.{key}.mb_s" in results
    ]
    return table(("COPY", "MB/s", "Borealis / this"), rows) if rows else ""


def sustained(results: Results) -> str:
    """Render the long run with default checkpoints."""
    rows = []
    for c in clients_of(results, "sustained"):
        for key, name in CONFIGURATIONS.items():
            own = f"sustained.c{c}" if key == "borealis" else f"sustained.c{c}.{key}"
            cells = (f"sustained.c{c}.{key}.tps", f"{own}.wal_bytes", f"{own}.max_ms")
            if cells[0] in results:
                ratio = "" if key == "borealis" else _ratio(results, f"sustained.c{c}.vs_{key}")
                rows.append((name, *(_figure(results, cell) for cell in cells), ratio))
    head = ("sustained TPC-B, 16 clients", "tps", "bytes of log a transaction", "longest, ms", "Borealis / this")
    return table(head, rows) if rows else ""


def others(results: Results) -> str:
    """Render single figures, and ratios with their spread."""
    shown = {key: _ratio if f"{key}.min" in results else _figure for key, _ in OTHERS}
    return table(("what", "figure"), [(title, shown[key](results, key)) for key, title in OTHERS if key in results])


def _clients(count: int) -> str:
    return "1 client" if count == 1 else f"{count} clients"


def _figure(results: Results, key: str) -> str:
    return f"{results[key]:g}" if key in results else ""


def _ratio(results: Results, key: str) -> str:
    if key not in results:
        return ""
    return f"**{results[key]:g}** ({results[f'{key}.min']:g} to {results[f'{key}.max']:g})"


OF_RESULTS: Final[tuple[Callable[[Results], str], ...]] = (
    rates("tpcb", "TPC-B"), rates("simple", "simple update"), latencies, processor, copy, sustained, others,
)  # fmt: skip
