"""The receiving peer: it starts streaming by itself, takes contiguous WAL only, and reports what it is told to."""

import struct

import pytest
from borealis_engine.contract.volume import Epoch, Lsn
from borealis_engine.proto import pgwire
from borealis_engine.proto.pgwire import Inbox, WireError
from borealis_engine.proto.walreceiver import Phase, StreamRefused, WalReceiver

GREETING = pgwire.packet(b"R", bytes(4)) + pgwire.packet(b"S", b"a\0b\0") + pgwire.packet(b"Z", b"I")
STARTED = GREETING + pgwire.packet(b"W", bytes(3))


def receiver() -> WalReceiver:
    return WalReceiver(user="admin", name="volume", slot="volume", start=Lsn(0x1000), timeline=Epoch(7))


def wal(lsn: int, data: bytes) -> bytes:
    return pgwire.render_xlog_data(Lsn(lsn), Lsn(lsn + len(data)), data, now=0.0)


def test_it_asks_for_the_slot_s_stream_once_the_server_is_ready() -> None:
    peer = receiver()
    startup = peer.data_to_send()
    code, parameters = pgwire.parse_startup(startup)
    assert code == pgwire.PROTOCOL_3
    assert parameters["replication"] == "true"
    assert parameters["application_name"] == "volume"
    assert peer.receive_data(GREETING) == b""
    inbox = Inbox()
    inbox.receive_data(peer.data_to_send())
    (packet,) = inbox.packets()
    assert packet.body == b'START_REPLICATION SLOT "volume" PHYSICAL 0/1000 TIMELINE 7\0'


def test_wal_comes_out_in_order_however_it_is_cut() -> None:
    stream = STARTED + wal(0x1000, b"abc") + pgwire.render_keepalive(Lsn(1), 0.0, reply=True) + wal(0x1003, b"def")
    whole, cut, got = receiver(), receiver(), b""
    assert whole.receive_data(stream) == b"abcdef"
    for byte in stream:
        got += cut.receive_data(bytes([byte]))
    assert got == b"abcdef"
    assert whole.position == cut.position == 0x1006
    assert whole.reply_requested


def test_a_gap_is_an_error() -> None:
    peer = receiver()
    with pytest.raises(WireError, match="0/1001"):
        peer.receive_data(STARTED + wal(0x1001, b"x"))


def test_status_reports_one_position_three_times_and_only_while_streaming() -> None:
    peer = receiver()
    peer.data_to_send()
    peer.status(Lsn(5), 0.0)
    assert peer.data_to_send() == b""
    peer.receive_data(STARTED)
    peer.data_to_send()
    peer.status(Lsn(5), 0.0)
    sent = pgwire.parse_reply(peer.data_to_send()[5:])
    assert sent == pgwire.StandbyStatus(write=Lsn(5), flush=Lsn(5), apply=Lsn(5), reply_requested=False)


def test_refusals_and_ends() -> None:
    error = pgwire.render_error(severity="ERROR", sqlstate="55006", message="slot is active")
    with pytest.raises(StreamRefused, match="slot is active") as caught:
        receiver().receive_data(GREETING + error)
    assert caught.value.sqlstate == "55006"
    with pytest.raises(WireError, match="password"):
        receiver().receive_data(pgwire.packet(b"R", struct.pack("!I", 10)))
    peer = receiver()
    peer.receive_data(STARTED + pgwire.packet(b"c"))
    assert peer.phase is Phase.ENDED
