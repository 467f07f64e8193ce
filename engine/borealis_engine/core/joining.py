"""Carries out `Begin`: asks for what custody.next_step finds missing, until the entry is durable and answered.

At most one pull is out. A newer promise cancels everything; a repeated Begin of the same reign keeps a pull that
goes on well.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from borealis_engine.contract.volume import Lsn, MemberId
from borealis_engine.core.custody import Complete, WantImage, WantImageLog, WantLog, next_step
from borealis_engine.core.effects import (
    CancelPull,
    Conn,
    ImageExtent,
    LoadImage,
    NodeEffect,
    Pull,
    PullImage,
    Send,
    Truncated,
)
from borealis_engine.core.journal import Entered, Logged
from borealis_engine.core.messages import Begin, Begun, Reason
from borealis_engine.core.pipeline import Pipeline

RETRY_S: Final = 0.2  # seconds between attempts at a donor


@dataclass(frozen=True, slots=True, kw_only=True)
class _Out:
    """What was asked for under `token`, and still is."""

    token: int
    donor: str
    upto: Lsn


class Joining:
    """The Begin in progress, if there is one."""

    __slots__ = ("_begin", "_conn", "_emit", "_image_asked", "_images", "_out", "_pipe", "_refuse", "_retry", "_token")

    def __init__(
        self,
        *,
        pipe: Pipeline,
        images: dict[str, ImageExtent],
        emit: Callable[[NodeEffect], None],
        refuse: Callable[[Conn, Reason, str], None],
    ) -> None:
        self._pipe, self._images, self._emit, self._refuse = pipe, images, emit, refuse
        self._begin: Begin | None = None
        self._conn = Conn(0)
        self._out: _Out | None = None
        self._image_asked = False
        self._retry: float | None = None
        self._token = 0

    @property
    def active(self) -> bool:
        """Whether a Begin is unanswered."""
        return self._begin is not None

    @property
    def deadline(self) -> float | None:
        """When to ask a donor again."""
        return self._retry

    def begin(self, conn: Conn, begin: Begin, now: float) -> None:
        """Work towards `begin` (its epoch is the promised one) and answer on `conn`."""
        if self._begin is None or self._begin.donor != begin.donor:
            self._drop_pull()
            self._image_asked = False
        self._begin, self._conn = begin, conn
        self._advance(now)

    def cancel(self) -> None:
        """Another epoch is promised: forget it all."""
        self._drop_pull()
        self._begin, self._retry, self._image_asked = None, None, False

    def pulled(self, token: int, lsn: Lsn, data: bytes, now: float) -> None:
        """Take bytes that were asked for; what is not asked for any more, or held already, is dropped."""
        out, flush = self._out, self._pipe.seen.flush
        if out is None or token != out.token:
            return
        if lsn > flush:
            self.pull_failed(token, now)
            return
        fresh = data[flush - lsn : out.upto - lsn]
        if fresh:
            self._pipe.add(Logged(lsn=flush, data=bytes(fresh)))
        if self._pipe.seen.flush >= out.upto:
            self._out = None
            self._advance(now)

    def pull_failed(self, token: int, now: float) -> None:
        """Ask again in a while."""
        if self._out is not None and token == self._out.token:
            self._drop_pull()
            self._retry = now + RETRY_S

    def image_known(self, now: float) -> None:
        """An image arrived: go on if that was missing."""
        self._image_asked = False
        if self.active and self._out is None:
            self._advance(now)

    def image_failed(self, now: float) -> None:
        """Ask again in a while."""
        if self._image_asked:
            self._image_asked = False
            self._retry = now + RETRY_S

    def tick(self, now: float) -> None:
        """Ask again what failed."""
        if self._retry is not None and now >= self._retry:
            self._advance(now)

    def _drop_pull(self) -> None:
        if self._out is not None:
            self._emit(CancelPull(token=self._out.token))
            self._out = None

    def _advance(self, now: float) -> None:
        """Take steps until one needs somebody else."""
        self._retry = None
        while self._begin is not None and self._out is None and not self._image_asked:
            begin = self._begin
            step = next_step(begin, self._pipe.seen, self._images.get(begin.history[0].image))
            match step:
                case Entered():
                    self._enter(step)
                case Logged():
                    self._pipe.add(step)
                case WantImage():
                    self._ask_image(begin)
                case WantImageLog(start=start, upto=upto):
                    self._out = _Out(token=self._next_token(), donor="", upto=upto)
                    image = begin.history[0].image
                    self._emit(LoadImage(token=self._token, image=image, start=start, upto=upto))
                case WantLog(start=start, upto=upto):
                    self._ask_log(begin, start, upto)
                case Complete():
                    self._finish(begin)

    def _enter(self, entry: Entered) -> None:
        cut = entry.end < self._pipe.seen.flush
        self._pipe.add(entry)
        if cut:
            self._emit(Truncated(end=entry.end))

    def _ask_image(self, begin: Begin) -> None:
        if not begin.donor:
            self._give_up("the image is not here and no donor is named")
            return
        self._image_asked = True
        self._emit(PullImage(image=begin.history[0].image, donor=MemberId(begin.donor)))

    def _ask_log(self, begin: Begin, start: Lsn, upto: Lsn) -> None:
        if not begin.donor:
            self._give_up(f"log from {start} to {upto} is not here and no donor is named")
            return
        self._out = _Out(token=self._next_token(), donor=begin.donor, upto=upto)
        donor = MemberId(begin.donor)
        self._emit(Pull(token=self._token, donor=donor, epoch=begin.epoch, start=start, upto=upto))

    def _next_token(self) -> int:
        self._token += 1
        return self._token

    def _give_up(self, why: str) -> None:
        self._begin = None
        self._refuse(self._conn, Reason.UNKNOWN, why)

    def _finish(self, begin: Begin) -> None:
        conn, self._begin = self._conn, None

        def answer() -> None:
            if self._pipe.seen.promised == begin.epoch:
                self._emit(Send(conn=conn, message=Begun(epoch=begin.epoch, flush=self._pipe.held.flush)))

        self._pipe.then(answer)
