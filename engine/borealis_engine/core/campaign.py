"""The candidate's way to four promises: canvass, then solicit, again and again.

Canvassing binds nobody: a round without four consents burns no epoch. An epoch is solicited once and never again by
this candidate, whatever came of it, and one that failed is resigned so that others need not wait for its lease.
What four means is the configuration's affair (`quorum`): it may change while a round is under way.

Four answers are not enough while something that was heard speaks against the best log among them (`recovery.doubt`):
others are waited for, and a round that ends in doubt elects nobody. Nor do four empty answers make a volume at once
when an epoch was promised before: then all members are asked, since a candidate before may have made one (017).
"""

from collections.abc import Callable, Mapping
from enum import Enum
from typing import Final
from zlib import crc32

from borealis_engine.contract.volume import Epoch, MemberId, VolumeConfig
from borealis_engine.core.effects import SendTo, Waiting, WriterEffect
from borealis_engine.core.history import epoch_of
from borealis_engine.core.journal import NOBODY
from borealis_engine.core.messages import Canvass, Consent, Message, Position, Promise, Reason, Refused, Resign, Solicit
from borealis_engine.core.peer import Peer
from borealis_engine.core.quorum import Sixes, blocks, elects, joiner, sixes, voters
from borealis_engine.core.recovery import doubt

ROUND_S: Final = 1.0  # seconds for a round's answers
SETTLE_S: Final = 0.2  # seconds that the other members have to answer before four empty ones make a volume
POLL_S: Final = 0.2  # seconds between rounds without consent; more, and growing, after lost solicitations
FIRST_EPOCH: Final = 2  # epoch 1 is the image's


class Stage(Enum):
    """What the candidate waits for."""

    PAUSED = "paused"
    CANVASSING = "canvassing"
    SOLICITING = "soliciting"
    WON = "won"


class Campaign:
    """Rounds of canvassing and soliciting, until won."""

    def __init__(
        self,
        *,
        owner: str,
        config: VolumeConfig,
        peers: dict[MemberId, Peer],
        emit: Callable[[WriterEffect], None],
        now: float,
        lease: float,
        known: Epoch = NOBODY,
    ) -> None:
        """Campaign against the owner of `known` (0: of any epoch), who is thought dead; `lease` in seconds."""
        self.stage = Stage.PAUSED
        self.epoch = NOBODY  # the one solicited last
        self.promises: dict[MemberId, Position] = {}
        self.asked: dict[MemberId, float] = {}  # when a member was first asked for the promise
        self._owner, self._peers, self._emit = owner, peers, emit
        self._sixes: Sixes = sixes(config)
        self._joiner = joiner(config)
        self._highest = NOBODY  # promised by anyone to anyone, as far as heard
        self._canvassed = NOBODY
        self._willing: dict[MemberId, Position] = {}
        self._heard: dict[MemberId, Position] = {}  # in this round, from whoever answered in any way
        self._burnt = False  # an earlier epoch was promised to somebody
        self._refusals: dict[MemberId, str] = {}
        self._deadline = now  # of the round or of the pause
        self._lease, self._known, self._round = lease, known, now  # `_round`: when it began
        self._leased: dict[MemberId, float] = {}  # since when members refuse for an owner that they hear
        self._living = set[MemberId]()  # those whose refusal proves an owner who lives and is not the one thought dead
        self._lost = 0  # solicitations in vain

    def configure(self, config: VolumeConfig) -> None:
        """Count by another configuration from here on; answers of members that it has no more are forgotten."""
        self._sixes, self._joiner = sixes(config), joiner(config)
        for answers in (self._willing, self.promises, self._heard, self._refusals):
            for gone in [member for member in answers if member not in self._peers]:
                del answers[gone]

    @property
    def voters(self) -> Mapping[MemberId, Position]:
        """The promises that count."""
        return voters(self.promises, self._joiner)

    def connected(self, peer: Peer, now: float) -> None:
        """Ask this member too; one that has restarted refuses for a lease, whoever lives."""
        self._leased.pop(peer.id, None)
        self._living.discard(peer.id)
        self._ask(peer, now)

    def _ask(self, peer: Peer, now: float) -> None:
        if self.stage is Stage.CANVASSING:
            self._emit(SendTo(member=peer.id, message=Canvass(epoch=self._canvassed, owner=self._owner)))
        elif self.stage is Stage.SOLICITING:
            self.asked.setdefault(peer.id, now)
            self._emit(SendTo(member=peer.id, message=Solicit(epoch=self.epoch, owner=self._owner)))

    def receive(self, peer: Peer, message: Message, now: float) -> None:
        """Count an answer; those to earlier rounds count for nothing."""
        match message:
            case Consent():
                self._consent(peer, message, now)
            case Promise():
                self._promise(peer, message, now)
            case Refused(reason=reason, promised=promised, message=why):
                self._highest = max(self._highest, promised)
                if reason in (Reason.CONFIG, Reason.UNFIT):
                    self._refused(peer, f"{reason.name.lower()}: {why}", now)
            case _:
                pass

    def abandon(self, reason: str, now: float, *, void: bool) -> None:
        """Give the solicited epoch up and start again in a while; `void` if no Begin of it was ever sent."""
        for peer in self._peers.values():
            if peer.connected:
                self._emit(SendTo(member=peer.id, message=Resign(epoch=self.epoch, owner=self._owner, void=void)))
        self._lost += 1
        chance = 0.5 + crc32(f"{self._owner}/{self.epoch}".encode()) / 2**32
        self._pause(reason, now, POLL_S * 2 ** min(self._lost, 4) * chance)

    def tick(self, now: float) -> None:
        """Begin the next round, or end one that is late."""
        if now < self._deadline:
            return
        match self.stage:
            case Stage.PAUSED:
                self._canvass(now)
            case Stage.CANVASSING:
                doubt = self._doubt(self._willing)
                self._pause(doubt or f"{len(self._willing)} consents in time{self._why()}", now, POLL_S)
            case Stage.SOLICITING:
                self._end_of_round(now)
            case Stage.WON:
                pass

    def _end_of_round(self, now: float) -> None:
        """Nobody else has answered in time."""
        doubt = self._doubt(self.promises)
        if not doubt and elects(self._sixes, self.voters):
            self.stage = Stage.WON
        else:
            self.abandon(doubt or f"{len(self.promises)} promises in time{self._why()}", now, void=True)

    def _doubt(self, answers: Mapping[MemberId, Position]) -> str:
        """Say why those who would elect must not; empty if they may, or are too few."""
        votes = voters(answers, self._joiner)
        return doubt(votes, self._heard) if elects(self._sixes, votes) else ""

    def _canvass(self, now: float) -> None:
        self.stage, self._deadline = Stage.CANVASSING, now + ROUND_S
        self._round = now
        self._canvassed = Epoch(max(self._highest + 1, FIRST_EPOCH))
        self._willing, self._heard, self._refusals = {}, {}, {}
        for peer in self._peers.values():
            if peer.connected:
                self._ask(peer, now)

    def _consent(self, peer: Peer, consent: Consent, now: float) -> None:
        self._highest = max(self._highest, consent.promised)
        if consent.epoch == self._canvassed:
            self._note_lease(peer, consent, now)
        if self.stage is not Stage.CANVASSING or consent.epoch != self._canvassed:
            return
        self._heard[peer.id] = consent.position
        if not consent.granted and consent.reason is not Reason.EPOCH:  # a too low number is no objection
            self._refused(peer, "the writer was heard within its lease", now)
            return
        self._willing[peer.id] = consent.position
        if elects(self._sixes, voters(self._willing, self._joiner)) and not self._doubt(self._willing):
            self._solicit(now)

    def _note_lease(self, peer: Peer, consent: Consent, now: float) -> None:
        """Remember since when a member refuses for an owner that it hears, and whether that owner lives.

        It has heard one within the lease. So one lives who owns a newer epoch than the owner that is thought dead, or
        who was heard after the first such refusal.
        """
        if consent.granted or consent.reason is not Reason.LEASE:
            self._leased.pop(peer.id, None)
            self._living.discard(peer.id)
            return
        since = self._leased.setdefault(peer.id, now)
        newer = NOBODY < self._known < epoch_of(consent.position.history)
        if newer or self._round - since >= self._lease:
            self._living.add(peer.id)

    def _solicit(self, now: float) -> None:
        self.stage, self._deadline = Stage.SOLICITING, now + ROUND_S
        self._burnt = self._highest != NOBODY
        self.epoch = Epoch(max(self._highest + 1, FIRST_EPOCH))
        self._highest = self.epoch
        self.promises, self.asked, self._refusals = {}, {}, {}
        for peer in self._peers.values():
            if peer.connected:
                self._ask(peer, now)

    def _promise(self, peer: Peer, promise: Promise, now: float) -> None:
        self._highest = max(self._highest, promise.promised)
        if self.stage is not Stage.SOLICITING or promise.epoch != self.epoch:
            return
        self._heard[peer.id] = promise.position
        if not promise.granted:
            self._refused(peer, f"epoch {promise.promised} is promised", now)
            return
        self.promises[peer.id] = promise.position
        self._judge(now)

    def _judge(self, now: float) -> None:
        """Win, if four promises leave no doubt; before a volume is made, ask all, unless nobody can have made one."""
        votes = self.voters
        if not elects(self._sixes, votes) or self._doubt(self.promises):
            return
        creating = not any(position.history for position in votes.values())
        if not (creating and self._burnt) or self._peers.keys() <= self.promises.keys() | self._refusals.keys():
            self.stage = Stage.WON
        else:
            self._deadline = min(self._deadline, now + SETTLE_S)

    def _refused(self, peer: Peer, why: str, now: float) -> None:
        self._refusals[peer.id] = why
        if not blocks(self._sixes, self._refusals):
            if self.stage is Stage.SOLICITING:
                self._judge(now)
            return
        if self.stage is Stage.CANVASSING:
            self._pause(f"no consent{self._why()}", now, POLL_S)
        elif self.stage is Stage.SOLICITING:
            self.abandon(f"no promise{self._why()}", now, void=True)

    def _why(self) -> str:
        return "; " + "; ".join(f"{who}: {why}" for who, why in self._refusals.items()) if self._refusals else ""

    def _pause(self, reason: str, now: float, seconds: float) -> None:
        self.stage, self._deadline = Stage.PAUSED, now + seconds
        outlived = blocks(self._sixes, self._living)
        self._emit(Waiting(reason=reason, until=self._deadline, outlived=outlived))
