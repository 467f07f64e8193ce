"""What scenarios share in which a storage node is harmed and the volume heals by itself."""

import time
from typing import Any

from e2e.conftest import READERS
from e2e.database import Database
from e2e.process import await_that
from e2e.report import Scenario
from e2e.workload import Ledger

HEALED_S = 240


def await_replaced(scenario: Scenario, database: Database, old: dict[str, Any], victim: str) -> None:
    """Wait until another one is in the victim's place and six of six are good, and note the seconds."""
    start = time.monotonic()
    before = identities(old)

    def healed() -> bool:
        status = database.status()
        return is_whole_without(status, victim) and len(identities(status) - before) == 1

    await_that(f"six of six are good without {victim}", healed, timeout=HEALED_S)
    scenario.figures["seconds_to_six_of_six"] = round(time.monotonic() - start, 1)
    database.await_condition("StorageHealthy", "True", "AllCurrent", timeout=10)
    nodes = {n["name"]: n for n in database.status()["storageNodes"]}
    assert all(n["state"] == "current" and n["node"] for n in nodes.values()), nodes


def judge_without_failover(scenario: Scenario, database: Database, ledger: Ledger, old: dict[str, Any]) -> None:
    """Prove that no commit failed, and that the writer is the one of before."""
    ledger.judge_undisturbed(scenario)
    assert database.await_whole(READERS, timeout=240)["epoch"] == old["epoch"], "there was a failover"


def is_whole_without(status: dict[str, Any], victim: str) -> bool:
    """Say whether six of six are good, and a storage node is none of them."""
    return status["storage"] == "6/6" and victim not in {member["name"] for member in status["members"]}


def identities(status: dict[str, Any]) -> set[str]:
    """Give the identities of the members of a volume."""
    return {member["id"] for member in status["members"]}
