"""The link to one pod: a stream of statuses, and a probe before it is suspected.

A reset or a silent second is only a suspicion; one `/status` that fails within a second confirms it. A pod that was
never heard is suspected after its first probe.
"""

import asyncio
import logging
from collections.abc import Callable
from typing import Final

import aiohttp
from borealis_engine.contract.names import CONTROL_PORT, EVENTS, STATUS
from borealis_engine.contract.status import InstanceStatus, StorageStatus

from borealis_operator.observe.belief import PodStatus, parse_status
from borealis_operator.observe.clock import RunningClock
from borealis_operator.observe.port import Place
from borealis_operator.plan.facts import Agent

log = logging.getLogger(__name__)

SILENCE_S: Final = 1.0
PROBE_S: Final = 1.0
PAUSE_S: Final = 0.25
ANSWERLESS: Final = (TimeoutError, OSError, aiohttp.ClientError)  # of a pod that cannot be reached, or ends


class Link:
    """What is known of one pod, kept fresh by a task until `close`."""

    def __init__(
        self, session: aiohttp.ClientSession, place: Place, clock: RunningClock, on_change: Callable[[], None]
    ) -> None:
        host = f"[{place.address}]" if ":" in place.address else place.address
        self.place = place
        self.url = f"https://{host}:{CONTROL_PORT}"
        self.outdated = False  # of a release that takes no settings
        self.decided = asyncio.Event()  # heard, or suspected
        self._session = session
        self._clock = clock
        self._on_change = on_change
        self._status: PodStatus | None = None
        self._heard = clock.now
        self._role_since = clock.now
        self._suspect = self._refused = False
        self._told: dict[type[BaseException], str] = {}  # what was logged last of each kind of error
        self._task = asyncio.create_task(self._run(), name=f"link to {place.name} at {place.address}")

    @property
    def session(self) -> aiohttp.ClientSession:
        """The cluster's HTTP session, for commands."""
        return self._session

    @property
    def agent(self) -> Agent:
        """The latest word of the pod."""
        return Agent(
            status=self._status,
            suspect=self._suspect,
            refused=self._refused,
            silent_for=self._clock.now - self._heard if self._suspect else 0.0,
            role_for=self._clock.now - self._role_since,
            outdated=self.outdated,
        )

    async def close(self) -> None:
        """Cease to listen."""
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)

    async def _run(self) -> None:
        while True:
            try:
                await self._listen()
            except Exception as error:  # noqa: BLE001 - whatever a pod says must not end its link
                self._tell(error)
            await self._probe()
            await asyncio.sleep(PAUSE_S)

    async def _listen(self) -> None:
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=PROBE_S, sock_read=SILENCE_S)
        async with self._session.get(self.url + EVENTS, timeout=timeout) as response:
            response.raise_for_status()
            async for line in response.content:
                if line.strip():
                    self._hear(parse_status(line, self.place))

    async def _probe(self) -> None:
        timeout = aiohttp.ClientTimeout(total=PROBE_S)
        try:
            async with self._session.get(self.url + STATUS, timeout=timeout) as response:
                response.raise_for_status()
                self._hear(parse_status(await response.read(), self.place))
        except Exception as error:  # noqa: BLE001 - whatever a pod says must not end its link
            self._doubt(error)

    def _hear(self, status: PodStatus) -> None:
        before, suspected = self._status, self._suspect
        self._status, self._heard = status, self._clock.now
        self._suspect = self._refused = False
        if essence(before)[:1] != essence(status)[:1]:
            self._role_since = self._clock.now
        self.decided.set()
        if suspected or essence(before) != essence(status):
            self._on_change()

    def _tell(self, error: BaseException) -> None:
        """Log why a pod is not believed, or what nobody expected, once; not that it does not answer."""
        answerless = isinstance(error, ANSWERLESS) and not isinstance(error, aiohttp.ClientConnectorCertificateError)
        if not answerless and self._told.get(type(error)) != str(error):
            self._told[type(error)] = str(error)
            log.warning("%s at %s is not believed: %r", self.place.name, self.place.address, error)

    def _doubt(self, error: BaseException) -> None:
        suspected = self._suspect
        self._tell(error)
        self._suspect = True
        self._refused = isinstance(getattr(error, "os_error", error), ConnectionRefusedError)
        self.decided.set()
        if not suspected:
            self._on_change()


def essence(status: PodStatus | None) -> tuple[object, ...]:
    """Give the parts of a status whose change calls for a pass: positions move all the time and do not."""
    if isinstance(status, InstanceStatus):
        known = (status.epoch, status.generation, status.revision, status.database, status.access, status.message)
        parameters = (status.extensions, status.settings, status.refused, status.pending_restart, status.tls)
        return (status.role, status.ready, *known, *parameters)
    if isinstance(status, StorageStatus):
        return (status.state, status.generation, status.revision, status.member, status.message)
    return ()
