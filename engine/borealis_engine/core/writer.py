"""Candidate and owner of one epoch, as a pure state machine: campaign, recovery, reign.

One object lives for one attempt to be the writer: it campaigns until elected, reigns until it is fenced, loses the
lease or resigns, and is then of no more use. The `owner` identity must be new for every object (never reused after a
restart): an epoch is promised to an identity.
"""

from typing import Final

from borealis_engine.contract.volume import Epoch, Lsn, MemberId, VolumeConfig
from borealis_engine.core import steady_reign
from borealis_engine.core.campaign import Campaign
from borealis_engine.core.campaign import Stage as CampaignStage
from borealis_engine.core.effects import (
    ConfigLearned,
    Fenced,
    ImageExtent,
    LeaseLost,
    NeedImage,
    Reconnect,
    SendTo,
    WriterEffect,
)
from borealis_engine.core.errors import Misuse
from borealis_engine.core.history import extend
from borealis_engine.core.journal import NOBODY, NOWHERE
from borealis_engine.core.messages import (
    Ack,
    Envelope,
    ImageStored,
    LogData,
    Message,
    Reason,
    Refused,
    Resign,
)
from borealis_engine.core.messages import (
    Reign as HistoryReign,
)
from borealis_engine.core.peer import Peer
from borealis_engine.core.recovery import Recovery, choose_donor
from borealis_engine.core.reign import Reign
from borealis_engine.core.slowness import Lateness, Standing
from borealis_engine.core.standing import Hearsay, is_news, news, told
from borealis_engine.core.steady_reign import LentReign, ReignDeeds
from borealis_engine.core.tail import LogEnd, Scan

TICK_S: Final = 0.1  # seconds
WINDOW: Final = 64 * 1024 * 1024  # bytes


class Writer:
    """A candidate, later the owner of an epoch. All times are seconds of one monotonic clock."""

    def __init__(
        self, *, config: VolumeConfig, owner: str, lease: float, scan: Scan, now: float, window: int = WINDOW,
        known: Epoch = NOBODY,
    ) -> None:  # fmt: skip
        """Campaign at once. `scan` finds the last record end of a log's tail; `window` bounds memory, in bytes.

        `known`: the epoch whose owner is thought dead; 0 if none is known.
        """
        self.config = config
        self._owner, self._lease, self._scan, self._limit = owner, lease, scan, window
        self._peers = {member.id: Peer(id=member.id) for member in config.everyone}
        self._effects: list[WriterEffect] = []
        emit = self._effects.append
        self._campaign = Campaign(
            owner=owner, config=config, peers=self._peers, emit=emit, now=now, lease=lease, known=known
        )
        self._recovery: Recovery | None = None
        self._reign: Reign | None = None
        self.won_under = config  # the configuration whose quorum elected, if one did
        self._image = ""  # made by this reign
        self._image_extent: ImageExtent | None = None
        self._established = False
        self._over = False
        self._resigned = False
        self._ticked = now
        self._lateness = Lateness(since=now)
        self._hearsay = Hearsay()

    # --- what the shell may look at -----------------------------------------------------------------------------

    @property
    def epoch(self) -> Epoch:
        """The epoch campaigned for or owned; 0 before the first promise is asked for."""
        return self._campaign.epoch

    @property
    def over(self) -> bool:
        """Whether this object is of no more use."""
        return self._over

    @property
    def durable(self) -> Lsn:
        """D; 0 until established."""
        return self._reign.durable if self._reign else NOWHERE

    @property
    def end(self) -> Lsn:
        """Where the next offered byte belongs; 0 before recovery is done."""
        return self._reign.window.end if self._reign else NOWHERE

    @property
    def room(self) -> int:
        """How many bytes may be offered now; 0: stop reading from PostgreSQL until D advances."""
        return self._reign.room if self._reign and not self._over else 0

    @property
    def horizon(self) -> Lsn | None:
        """The end of the log for which four members in step have room; None: too few have said."""
        return self._reign.horizon if self._reign and not self._over else None

    @property
    def lease_until(self) -> float:
        """When the lease runs out unless four members are heard: PostgreSQL must be silent from then on."""
        return self._reign.lease_until if self._reign and not self._over else float("-inf")

    def standings(self, now: float) -> tuple[Standing, ...]:
        """How each member does in the reign, in the order of the configuration; none before the election."""
        reign, peers = self._reign, self._peers
        if reign is None or self._over:
            return ()
        known = [(member.name, peers[member.id]) for member in self.config.members if member.id in peers]
        return tuple(self._lateness.judge(name, peer, end=reign.window.end, now=now) for name, peer in known)

    # --- inputs -------------------------------------------------------------------------------------------------

    def connected(self, member: MemberId, now: float) -> None:
        """A connection to `member` is there; an older one counts as gone."""
        peer = self._peers.get(member)
        if peer is None:
            return  # the configuration has it no more, or not yet
        self.disconnected(member, now)
        peer.connected = True
        peer.stream += 1
        if self._over:
            return
        if self._reign is not None:
            self._reign.solicit(peer, now)
        else:
            self._campaign.connected(peer, now)

    def disconnected(self, member: MemberId, now: float) -> None:
        """The connection to `member` is gone."""
        peer = self._peers.get(member)
        if peer is None or not peer.connected:
            return
        peer.connected = False
        peer.drop()
        if self._over:
            return
        if self._recovery is not None and self._recovery.donor == member:
            self._abandon(f"donor {member} went away", now)
        elif self._reign is not None:
            self._reign.disconnected(peer, now)

    def receive(self, member: MemberId, envelope: Envelope, now: float) -> None:
        """Take a message from the connection to `member`."""
        peer = self._peers.get(member)
        if peer is None or self._over or not peer.connected:
            return
        if envelope.sender != member:
            self._effects.append(Reconnect(member=member, reason=f"{envelope.sender} answers at its address"))
            return
        message = envelope.message
        if type(message) is Ack and self._reign is not None:
            if message.epoch == self._reign.epoch:
                peer.generation = envelope.generation
            self._reign.acknowledged(peer, message, now)
            if not self._established:
                self._settle(self._reign, now)
            return
        if isinstance(message, Refused) and message.reason is Reason.CONFIG:
            self._learn(peer, message)
        if self._reign is None:
            self._campaign.receive(peer, message, now)
            if self._campaign.stage is CampaignStage.WON:
                self._win(now)
        else:
            self._in_reign(self._reign, peer, message, now)

    def offer(self, lsn: Lsn, data: bytes, now: float) -> None:
        """Take WAL of the own epoch, which begins at `end`; Misuse if not established or not contiguous."""
        if self._reign is None:
            raise Misuse("WAL was offered before the election")
        if not self._over:
            self._reign.offer(lsn, data, now)

    def lend(self) -> LentReign | None:
        """Lend the reign out (core.steady_reign) until `advance`, which comes before anything else; None: not now."""
        if self._reign is None or not self._established or self._over or self._effects:
            return None  # what is still to be done comes before anything that the borrower does
        return steady_reign.lend(self._reign)

    def advance(self, deeds: ReignDeeds, now: float) -> None:
        """Take back what was lent; SafetyViolated if it was not done by the rules."""
        if self._reign is not None:
            steady_reign.advance(self._reign, deeds, now)

    def image_made(self, image: str, extent: ImageExtent, now: float) -> None:
        """After NeedImage: image 0 exists here (uploading it is the shell's part)."""
        if self._reign is not None and not self._reign.history and self._recovery is None:
            self._image, self._image_extent = image, extent
            prefix = (HistoryReign(epoch=Epoch(1), start=extent.start, image=image),)
            self._reign.open(extend(prefix, self.epoch, extent.end), 0, extent, now)

    def image_stored(self, member: MemberId, now: float) -> None:
        """`member` answered ImageStored to the upload (not needed if that came through `receive`)."""
        if self._reign is not None and not self._over and member in self._peers:
            self._reign.stored(self._peers[member], now)

    def resign(self, now: float) -> None:
        """Give the campaign or the reign up, so that the next need not wait; PostgreSQL must be stopped already."""
        if not self._resigned and self.epoch != NOBODY:
            for peer in self._peers.values():
                if peer.connected:
                    resign = Resign(epoch=self.epoch, owner=self._owner, void=self._void)
                    self._effects.append(SendTo(member=peer.id, message=resign))
        self._resigned = self._over = True
        self._ticked = now

    def configure(self, config: VolumeConfig) -> None:
        """Keep the higher configuration, and go on under it: no election is needed.

        Whoever it has no more is forgotten, whoever is new is connected to by the shell. D never recedes, and
        moves on only by the quorums of the new configuration. The members are told too: each may be the last to learn.
        """
        if not is_news(config, self.config):
            return
        risen = config.generation > self.config.generation
        self.config, now = config, self._ticked
        wanted = {member.id: Peer(id=member.id) for member in config.everyone}
        for gone in [id for id in self._peers if id not in wanted]:
            self.disconnected(gone, now)
            del self._peers[gone]
        for id, peer in wanted.items():
            self._peers.setdefault(id, peer)
        if risen:  # a member that adopts it before the next append arrives need not refuse that
            connected = [peer.id for peer in self._peers.values() if peer.connected]
            self._effects += [SendTo(member=id, message=news(config)) for id in connected]
        self._campaign.configure(config)
        if self._reign is not None:
            self._reign.configure(config, list(self._peers.values()), now)
            self._settle(self._reign, now)

    def tick(self, now: float) -> None:
        """Do what is due; call at `next_deadline()` or more often."""
        self._ticked = now
        if self._over:
            return
        if self._reign is None:
            self._campaign.tick(now)
            if self._campaign.stage is CampaignStage.WON:
                self._win(now)
            return
        self._reign.tick(now)
        self._lateness.look([self._peers[member.id] for member in self.config.members], now)
        self._settle(self._reign, now)

    def announce(self) -> None:
        """Send D alone to those whom no append has told it: at `announce_at`; `tick` does so too."""
        if self._reign is not None and not self._over:
            self._reign.announce()

    @property
    def announce_at(self) -> float | None:
        """When D should be sent alone; None: an append took it along, or there is no news."""
        return self._reign.announce_at if self._reign is not None and not self._over else None

    def next_deadline(self) -> float:
        """When `tick` has something to do: not a moment after the lease has ended."""
        due = self._ticked + TICK_S
        if self._over or self._reign is None:
            return due
        soon = self._reign.announce_at
        return max(self._ticked, min(due, self._reign.lease_until, due if soon is None else soon))

    def effects(self) -> list[WriterEffect]:
        """Drain what is to be done, in order."""
        drained = self._effects[:]
        self._effects.clear()
        return drained

    # --- from candidate to owner --------------------------------------------------------------------------------

    def _win(self, now: float) -> None:
        """Four promises: the epoch is ours alone. Find its log."""
        promises, self.won_under = dict(self._campaign.promises), self.config
        self._lateness = Lateness(since=now)
        for peer in self._peers.values():
            peer.enlist()
        self._reign = Reign(
            epoch=self.epoch,
            owner=self._owner,
            config=self.config,
            peers=list(self._peers.values()),
            emit=self._effects.append,
            lease=self._lease,
            limit=self._limit,
        )
        donor = choose_donor(self._campaign.voters)
        self._reign.found = promises[donor].rank if donor is not None else (0, 0)
        for member, position in promises.items():
            self._peers[member].heard = self._campaign.asked[member]
            if self._peers[member].connected:
                self._reign.promised(self._peers[member], position, now)
        if donor is None:
            self._effects.append(NeedImage(epoch=self.epoch))
        elif not self._peers[donor].connected:
            self._abandon(f"donor {donor} went away", now)
        else:
            position = promises[donor]
            self._recovery = Recovery(donor=donor, position=position, scan=self._scan, emit=self._effects.append)
            self._recovered(self._reign, now)
        if self._reign is not None:
            self._reign.tick(now)

    def _recovered(self, reign: Reign, now: float) -> None:
        recovery = self._recovery
        if recovery is None:
            return
        if recovery.failure:
            self._abandon(recovery.failure, now)
        elif recovery.end is not None:
            self._recovery = None
            end: LogEnd = recovery.end
            reign.open(extend(recovery.history, self.epoch, end.end), end.padding, None, now)

    def _in_reign(self, reign: Reign, peer: Peer, message: Message, now: float) -> None:
        if isinstance(message, ImageStored):
            if message.image == self._image:
                reign.stored(peer, now)
        elif self._recovery is not None and peer.id == self._recovery.donor and isinstance(message, LogData | Refused):
            self._recovery.receive(message)
            self._recovered(reign, now)
        else:
            reign.receive(peer, message, now)
        self._settle(reign, now)

    def _settle(self, reign: Reign, now: float) -> None:
        """Draw the consequences if the reign is over: final once it was established, else another try."""
        self._established = self._established or reign.durable != NOWHERE
        if reign.deposed is None or self._over or self._reign is None:
            return
        if not self._established:
            self._abandon(reign.deposed.reason, now)
            return
        self._over = True
        reason = reign.deposed.reason
        self._effects.append(Fenced(reason=reason) if reign.deposed.fenced else LeaseLost(reason=reason))

    @property
    def _void(self) -> bool:
        """Whether no Begin of the epoch was ever sent."""
        return self._reign is None or not self._reign.history

    def _abandon(self, reason: str, now: float) -> None:
        void, recovery = self._void, self._recovery
        self._reign, self._recovery, self._image = None, None, ""
        self._campaign.abandon(reason, now, void=void)
        if recovery is not None and self._peers[recovery.donor].connected:
            self._reconnect(recovery.donor, "log of an abandoned recovery may still come")

    def _reconnect(self, member: MemberId, reason: str) -> None:
        """Nothing more is taken from this connection."""
        self._effects.append(Reconnect(member=member, reason=reason))
        self._peers[member].connected = False
        self._peers[member].drop()

    def _learn(self, peer: Peer, refused: Refused) -> None:
        """Take a member's configuration if it is higher; tell it ours if that is: nobody needs the API to learn it."""
        config = told(refused)
        if config is None or config.cluster_uid != self.config.cluster_uid:
            return
        if self._hearsay.believe(config, self.config, peer.id):
            self._effects.append(ConfigLearned(config=config))
            self.configure(config)
        elif config.generation < self.config.generation:
            self._effects.append(SendTo(member=peer.id, message=news(self.config)))
