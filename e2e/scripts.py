"""Python that runs inside pods, given to them as text. Each prints one line of JSON unless it says otherwise."""

ROWS = 100

# Arguments: URI of the writer endpoint, URI of the reader endpoint.
SQLALCHEMY = f"""
import json, sys, time
from sqlalchemy import Column, Integer, MetaData, String, Table, create_engine, func, select, text
writer, reader = (create_engine(url.replace("postgresql://", "postgresql+psycopg://")) for url in sys.argv[1:3])
notes = Table("notes", MetaData(), Column("id", Integer, primary_key=True), Column("text", String(80)))
notes.metadata.drop_all(writer)
notes.metadata.create_all(writer)
with writer.begin() as connection:
    connection.execute(notes.insert(), [{{"text": f"note {{n}}"}} for n in range({ROWS})])
end = time.monotonic() + 30
while True:
    try:
        with reader.connect() as connection:
            rows = connection.execute(select(func.count()).select_from(notes)).scalar()
            recovers = connection.execute(text("SELECT pg_is_in_recovery()")).scalar()
    except Exception as error:  # the table has not come yet
        rows, recovers = str(error), False
    if rows == {ROWS} or time.monotonic() > end:
        break
    time.sleep(0.01)
print(json.dumps({{"rows": rows, "reader_recovers": recovers}}))
"""

# Arguments: URI of the writer, then one for each reader. Prints seconds from commit to sight on each reader.
READ_EVERYWHERE = """
import json, sys, threading, time, uuid
import psycopg
mark, lags = uuid.uuid4().hex, {}
def watch(url):
    with psycopg.connect(url, autocommit=True) as connection:
        ready.wait()
        while time.monotonic() < end:
            try:
                if connection.execute("SELECT 1 FROM marks WHERE mark = %s", (mark,)).fetchone():
                    lags[url] = round(time.monotonic() - committed[0], 4)
                    return
            except psycopg.errors.UndefinedTable:
                pass
            if not committed:
                time.sleep(0.001)
end, committed, ready = time.monotonic() + 30, [], threading.Barrier(len(sys.argv) - 1)
threads = [threading.Thread(target=watch, args=(url,)) for url in sys.argv[2:]]
with psycopg.connect(sys.argv[1], autocommit=True) as connection:
    connection.execute("CREATE TABLE IF NOT EXISTS marks (mark text)")
    for thread in threads:
        thread.start()
    ready.wait()
    committed.append(time.monotonic())
    connection.execute("INSERT INTO marks VALUES (%s)", (mark,))
    committed[0] = time.monotonic()
for thread in threads:
    thread.join()
print(json.dumps([max(0.0, lag) for lag in lags.values()]))
"""

# Ends the postmaster of the pod, as the kernel's OOM killer would; prints nothing.
KILL_POSTMASTER = """
import os, signal, sys
from pathlib import Path
def stat(pid):
    name, rest = Path(f"/proc/{pid}/stat").read_text().split("(", 1)[1].rsplit(")", 1)
    return name, int(rest.split()[1])
pids = {int(p.name): stat(p.name) for p in Path("/proc").iterdir() if p.name.isdigit()}
servers = {pid for pid, (name, _) in pids.items() if name == "postgres"}
masters = [pid for pid in servers if pids[pid][1] not in servers]
if len(masters) != 1:
    sys.exit(f"expected one postmaster, found {masters} among {pids}")
os.kill(masters[0], signal.SIGKILL)
"""

# Argument: URI of the writer's pod itself. Prints `open`, waits for a line, commits, then tries a new connection.
HOLD_TRANSACTION = """
import json, sys
import psycopg
def attempt(work):
    try:
        work()
        return "done", ""
    except Exception as error:
        return "failed", f"{type(error).__name__}: {error}".strip()
url = sys.argv[1]
connection = psycopg.connect(url, connect_timeout=5)
connection.execute("CREATE TABLE IF NOT EXISTS held (id int)")
connection.commit()
connection.execute("INSERT INTO held VALUES (1)")
print("open")
sys.stdin.readline()
commit = attempt(connection.commit)
def insert():
    with psycopg.connect(url, connect_timeout=5) as other:
        other.execute("INSERT INTO held VALUES (2)")
again = attempt(insert)
print(json.dumps({"commit": commit[0], "commit_error": commit[1], "insert": again[0], "insert_error": again[1]}))
"""

# Argument: URI of the writer endpoint. Prints how many rows of HOLD_TRANSACTION exist.
COUNT_HELD = """
import sys
import psycopg
with psycopg.connect(sys.argv[1]) as connection:
    print(connection.execute("SELECT count(*) FROM held").fetchone()[0])
"""

# Argument: URI. Prints 1.
ONE = """
import sys
import psycopg
with psycopg.connect(sys.argv[1], connect_timeout=10) as connection:
    print(connection.execute("SELECT 1").fetchone()[0])
"""

# Arguments: URI, address instead of that of the name ("": none), file of the CA. Prints what there is, or `error`.
VERIFY_FULL = """
import json, sys
import psycopg
words = dict(enumerate(sys.argv))
more = {"hostaddr": words[2]} if words.get(2) else {}
try:
    with psycopg.connect(
        words[1], connect_timeout=10, sslmode="verify-full", sslrootcert=words.get(3, "/tmp/ca.crt"), **more
    ) as connection:
        query = "SELECT ssl, version, pg_is_in_recovery() FROM pg_stat_ssl WHERE pid = pg_backend_pid()"
        ssl, version, recovers = connection.execute(query).fetchone()
        print(json.dumps({"ssl": ssl, "version": version, "recovers": recovers}))
except psycopg.Error as error:
    print(json.dumps({"error": str(error)}))
"""

# Argument: URI. Prints `ok`, or why there is no connection.
ATTEMPT = """
import sys
import psycopg
try:
    psycopg.connect(sys.argv[1], connect_timeout=10).close()
    print("ok")
except psycopg.Error as error:
    print(str(error).replace(chr(10), " "))
"""

# Arguments: name of a parameter, then one URI for each instance. Prints its value on each.
SHOW = """
import json, sys
import psycopg
def value(url):
    with psycopg.connect(url, connect_timeout=5) as connection:
        return connection.execute("SELECT current_setting(%s)", (sys.argv[1],)).fetchone()[0]
print(json.dumps([value(url) for url in sys.argv[2:]]))
"""

# Arguments: URI, number of threads. Keeps that many connections busy, each for a moment only, until it is ended.
BUSY = """
import sys, threading, time
import psycopg
def work():
    while True:
        try:
            with psycopg.connect(sys.argv[1], connect_timeout=5, autocommit=True) as connection:
                end = time.monotonic() + 3
                while time.monotonic() < end:
                    connection.execute("SELECT sum(sqrt(n)) FROM generate_series(1, 100000) n")
        except psycopg.Error:
            time.sleep(0.1)
for _ in range(int(sys.argv[2])):
    threading.Thread(target=work).start()
"""

# Argument: URI. Prints `open`, connects anew until a line comes, and prints how often that went well, and the errors.
CONNECT = """
import collections, json, select, sys, time
import psycopg
errors, opened = collections.Counter(), 0
print("open")
while not select.select([sys.stdin], [], [], 0.5)[0]:
    try:
        with psycopg.connect(sys.argv[1], connect_timeout=5, autocommit=True) as connection:
            connection.execute("SELECT 1")
        opened += 1
    except psycopg.Error as error:
        errors[f"{type(error).__name__}: {error}".split(chr(10))[0]] += 1
print(json.dumps({"opened": opened, "errors": errors}))
"""

# Argument: URI of the writer endpoint. Commits, and prints a position in the log up to which the commit reaches.
COMMITTED = """
import sys
import psycopg
with psycopg.connect(sys.argv[1], autocommit=True) as connection:
    connection.execute("CREATE TABLE IF NOT EXISTS pinned (id int)")
    connection.execute("INSERT INTO pinned VALUES (1)")
    print(connection.execute("SELECT pg_current_wal_flush_lsn()").fetchone()[0])
"""

# Argument: URI of the writer endpoint. Writes one record of 700 MB, then commits a row behind it; prints the seconds.
LARGE_RECORD = """
import sys, time
import psycopg
began = time.monotonic()
with psycopg.connect(sys.argv[1], autocommit=True) as connection:
    connection.execute("CREATE TABLE IF NOT EXISTS behind (id int)")
    connection.execute("SELECT pg_logical_emit_message(false, 'x', repeat('x', 700 * 1024 * 1024))")
    connection.execute("INSERT INTO behind VALUES (1)")
print(round(time.monotonic() - began, 1))
"""

# Argument: URI of one instance. Prints how many rows of LARGE_RECORD are seen.
COUNT_BEHIND = """
import sys
import psycopg
with psycopg.connect(sys.argv[1], connect_timeout=10) as connection:
    print(connection.execute("SELECT count(*) FROM behind").fetchone()[0])
"""

# Argument: URI of the writer endpoint. One transaction that writes 700 MB; prints its error, or an empty state.
FILL = """
import json, sys, time
import psycopg
began, state, said = time.monotonic(), "", ""
try:
    with psycopg.connect(sys.argv[1], autocommit=True) as connection:
        connection.execute("CREATE TABLE wide AS SELECT n, repeat('x', 1000) AS line FROM generate_series(1, 700000) n")
except psycopg.Error as error:
    state, said = error.sqlstate or type(error).__name__, str(error).strip()
print(json.dumps({"state": state, "said": said, "seconds": round(time.monotonic() - began, 1)}))
"""

# Arguments: host:port, as many as there are. Prints for each whether a connection of TCP is opened within 3 s.
REACH = """
import json, socket, sys
def reached(place):
    host, _, port = place.rpartition(":")
    try:
        socket.create_connection((host, int(port)), timeout=3).close()
    except OSError:
        return False
    return True
print(json.dumps({place: reached(place) for place in sys.argv[1:]}))
"""

# Arguments: number, port, then hosts. To each host so many TLS handshakes at once, a byte a second, and a new one for
# each that the other side ends. Prints `open` once each was tried, then reads a line, and prints what became of them.
SLOW_HANDSHAKES = """
import asyncio, json, resource, sys
hello = bytes.fromhex("1603010200010001fc0303") + bytes(501)
number, port, hosts = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3:]
limit = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit))
told = {"opened": 0, "ended": 0, "refused": 0}
async def trickle(reader, writer):
    for byte in hello:
        writer.write(bytes((byte,)))
        await writer.drain()
        try:
            async with asyncio.timeout(1):
                await reader.read(1)
                return
        except TimeoutError:
            pass
async def handshakes(host, tried):
    while True:
        try:
            async with asyncio.timeout(10):
                reader, writer = await asyncio.open_connection(host, port)
            told["opened"] += 1
            tried.set()
            try:
                await trickle(reader, writer)
            finally:
                writer.close()
            told["ended"] += 1
        except (OSError, TimeoutError):
            told["refused"] += 1
            tried.set()
        await asyncio.sleep(0.2)
async def main():
    events = [asyncio.Event() for _ in range(number * len(hosts))]
    tasks = [asyncio.create_task(handshakes(hosts[n % len(hosts)], event)) for n, event in enumerate(events)]
    for event in events:
        await event.wait()
    print("open", flush=True)
    await asyncio.to_thread(sys.stdin.readline)
    for task in tasks:
        task.cancel()
    print(json.dumps(told), flush=True)
asyncio.run(main())
"""
