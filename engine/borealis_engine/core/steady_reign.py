"""The state in which nearly every commit finds a reign, lent out and taken back: the short way through the writer.

Four members of one configuration stream, and all that comes is WAL and acks. Somebody else (the native library) then
sends pieces to the members that are in step and counts acks, by the rules of `Reign`; what it did is told here before
anything else touches the reign. Invariant: D is counted again when it is told, and must come out the same.
"""

from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

from borealis_engine.contract.volume import Epoch, Lsn, MemberId
from borealis_engine.core.errors import SafetyViolated
from borealis_engine.core.peer import Peer, Stage
from borealis_engine.core.reign import IN_FLIGHT, Reign

HEADWAY: Final = 8 << 20  # bytes: twice what may leave while a reign is lent (REIGN_LOG in native.h)


class LentPeer(NamedTuple):
    """One member as core.peer knows it."""

    id: MemberId
    stream: int
    streaming: bool  # it is sent log
    acked: Lsn
    next: Lsn
    told: Lsn
    feeding: bool


class LentReign(NamedTuple):
    """A reign for somebody who knows its rules."""

    epoch: Epoch
    start: Lsn  # of the entry: who ends below holds nothing of the reign
    end: Lsn  # where the next byte belongs
    durable: Lsn
    limit: int  # bytes that may have been sent and not be durable
    beat: int  # the last one
    announce_at: float | None
    peers: tuple[LentPeer, ...]


class PeerDeeds(NamedTuple):
    """What a member was sent, and what it answered; the latter of no account while `generation` is 0."""

    acked: Lsn
    next: Lsn
    told: Lsn
    feeding: bool
    answered: int  # the highest beat
    generation: int  # that came with its latest ack of the epoch
    beats: Sequence[tuple[int, float]]  # those that it was sent, and when, in order


class ReignDeeds(NamedTuple):
    """What was done with a lent reign."""

    log: bytes  # WAL from its end on that was sent
    durable: Lsn
    beat: int
    announce_at: float | None
    peers: Mapping[MemberId, PeerDeeds]


def lend(reign: Reign) -> LentReign | None:
    """Give the reign away until `advance`; None if something is under way that needs all of the core's rules."""
    end, horizon = reign.window.end, reign.horizon
    if not reign.durable or reign.deposed is not None or reign.joint:
        return None
    if horizon is not None and horizon < end + HEADWAY:
        return None  # members' room ends soon: the borrower knows nothing of that
    for peer in reign.peers:
        lacks = peer.stage is Stage.STREAMING and peer.next != end and peer.next - peer.acked < IN_FLIGHT
        if lacks and (peer.upto is None or peer.next < peer.upto):
            return None  # it is about to be sent what it lacks
    return LentReign(
        epoch=reign.epoch,
        start=reign.history[-1].start,
        end=end,
        durable=reign.durable,
        limit=reign.limit // 2,
        beat=reign.beat,
        announce_at=reign.announce_at,
        peers=tuple(
            LentPeer(p.id, p.stream, _streams(p, end), p.acked, p.next, p.told, p.feeding) for p in reign.peers
        ),
    )


def _streams(peer: Peer, end: Lsn) -> bool:
    """Return whether a member may be sent all log that leaves while the reign is lent."""
    return peer.stage is Stage.STREAMING and (peer.upto is None or end + HEADWAY <= peer.upto)


def advance(reign: Reign, deeds: ReignDeeds, now: float) -> None:
    """Take the reign back. SafetyViolated if what was done breaks its rules."""
    reign.beat = max(reign.beat, deeds.beat)
    if deeds.log:
        reign.window.append(reign.window.end, deeds.log)
    for peer in reign.peers:
        if (done := deeds.peers.get(peer.id)) is None:
            continue
        if max(done.acked, done.next) > reign.window.end or done.acked < peer.acked:
            raise SafetyViolated(f"{peer.id} is said to hold log up to {done.acked}, of {reign.window.end}")
        peer.next, peer.told = done.next, done.told
        peer.beats.extend(done.beats)
        if done.beats:
            peer.beat_at = done.beats[-1][1]
        if done.generation:
            peer.acked, peer.feeding, peer.generation = done.acked, done.feeding, done.generation
            peer.answered(done.answered)
    reign.count(now)
    if reign.durable != deeds.durable:
        raise SafetyViolated(f"D was moved to {deeds.durable}; members hold {reign.durable}")
    reign.announce_at = deeds.announce_at
    for peer in reign.peers:
        reign.pump(peer, now)
