"""The walsender answers as PostgreSQL's does, whether bytes come whole or one by one."""

import struct

import pytest
from borealis_engine.contract.volume import Epoch, Lsn
from borealis_engine.proto import pgwire
from borealis_engine.proto.pgwire import Inbox, Packet, StandbyStatus, WireError
from borealis_engine.proto.wal import PAGE
from borealis_engine.proto.walsender import AskHistory, CopyEnded, Event, Gone, Identify, Start, WalSender

STARTUP = pgwire.render_startup({"user": "feed", "replication": "true"})


def query(text: str) -> bytes:
    return pgwire.packet(b"Q", text.encode() + b"\0")


def packets(data: bytes) -> list[Packet]:
    inbox = Inbox()
    inbox.receive_data(data)
    return list(inbox.packets())


def kinds(data: bytes) -> bytes:
    return b"".join(each.kind for each in packets(data))


def greeted() -> WalSender:
    sender = WalSender("15.18")
    assert sender.receive_data(STARTUP) == []
    sender.data_to_send()
    return sender


def streaming() -> WalSender:
    sender = greeted()
    sender.receive_data(query("START_REPLICATION 0/400000 TIMELINE 2"))
    sender.start_copy()
    assert kinds(sender.data_to_send()) == b"W"
    return sender


def test_greeting_refuses_encryption_and_ends_ready() -> None:
    sender = WalSender("15.18")
    sender.receive_data(struct.pack("!II", 8, pgwire.SSL_REQUEST))
    assert sender.data_to_send() == b"N"
    sender.receive_data(STARTUP)
    assert kinds(sender.data_to_send()) == b"RSSSSKZ"


COMMANDS: list[tuple[str, Event]] = [
    ("IDENTIFY_SYSTEM", Identify()),
    ("TIMELINE_HISTORY 7", AskHistory(timeline=Epoch(7))),
    ("START_REPLICATION 0/3000000 TIMELINE 2", Start(lsn=Lsn(0x3000000), timeline=Epoch(2))),
    ('START_REPLICATION SLOT "s" PHYSICAL 1/A TIMELINE 3', Start(lsn=Lsn((1 << 32) + 10), timeline=Epoch(3))),
    ("START_REPLICATION PHYSICAL 0/10", Start(lsn=Lsn(16), timeline=None)),
]


@pytest.mark.parametrize(("text", "event"), COMMANDS, ids=lambda value: str(value)[:30])
def test_commands_whole_and_byte_by_byte(text: str, event: Event) -> None:
    assert greeted().receive_data(query(text)) == [event]
    sender, seen = greeted(), []
    for byte in query(text):
        seen += sender.receive_data(bytes([byte]))
    assert seen == [event]


def test_identify_names_system_timeline_and_position() -> None:
    sender = greeted()
    sender.identify(7312345678901234567, Epoch(7), Lsn(0x3000028))
    answer = packets(sender.data_to_send())
    assert b"".join(each.kind for each in answer) == b"TDCZ"
    assert answer[0].body.startswith(b"\0\4systemid\0")
    values = (b"7312345678901234567", b"7", b"0/3000028")
    row = b"".join(struct.pack("!i", len(v)) + v for v in values) + struct.pack("!i", -1)
    assert answer[1].body == struct.pack("!h", 4) + row


def test_an_unknown_command_is_an_error_and_the_conversation_goes_on() -> None:
    sender = greeted()
    assert sender.receive_data(query("DROP TABLE t")) == []
    assert kinds(sender.data_to_send()) == b"EZ"
    assert sender.receive_data(query("IDENTIFY_SYSTEM;")) == [Identify()]


@pytest.mark.parametrize("start", [0x400000, 0x400000 + 3 * PAGE, 0x400000 + 5000])
def test_pieces_end_at_page_boundaries_and_carry_everything(start: int) -> None:
    sender = streaming()
    data = bytes(range(256)) * 2000
    sender.wal(Lsn(start), data, Lsn(start + len(data)), now=0.0)
    sent = [pgwire.parse_sent(each.body) for each in packets(sender.data_to_send())]
    at, got = start, b""
    for piece in sent:
        assert isinstance(piece, pgwire.XLogData)
        assert piece.lsn == at
        at += len(piece.data)
        got += piece.data
        assert at % PAGE == 0 or at == start + len(data)
    assert got == data
    assert len(sent) > 3


def test_the_end_of_a_timeline_has_two_command_completes() -> None:
    sender = streaming()
    sender.end_copy()
    assert kinds(sender.data_to_send()) == b"c"
    assert sender.receive_data(pgwire.packet(b"c")) == [CopyEnded(asked=True)]
    sender.end_of_timeline((Epoch(7), Lsn(0x3000028)))
    answer = packets(sender.data_to_send())
    assert b"".join(each.kind for each in answer) == b"TDCCZ"
    assert answer[1].body == struct.pack("!hi", 2, 1) + b"7" + struct.pack("!i", 9) + b"0/3000028"
    assert sender.receive_data(query("IDENTIFY_SYSTEM")) == [Identify()]


def test_a_copy_that_the_receiver_ends_is_answered() -> None:
    sender = streaming()
    assert sender.receive_data(pgwire.packet(b"c")) == [CopyEnded(asked=False)]
    sender.end_of_timeline(None)
    assert kinds(sender.data_to_send()) == b"cCCZ"


def test_status_and_feedback_inside_a_copy() -> None:
    sender = streaming()
    feedback = pgwire.packet(b"d", b"h" + bytes(24))
    status = pgwire.packet(b"d", struct.pack("!cQQQqB", b"r", 30, 20, 10, 0, 1))
    expected = StandbyStatus(write=Lsn(30), flush=Lsn(20), apply=Lsn(10), reply_requested=True)
    assert sender.receive_data(feedback + status) == [expected]
    assert sender.receive_data(pgwire.packet(b"X")) == [Gone()]


@pytest.mark.parametrize(
    "data", [query("IDENTIFY_SYSTEM"), pgwire.packet(b"d", b"rshort"), b"Q\xff\xff\xff\xff", b"Q\0\0\0\1"]
)
def test_what_breaks_the_protocol_inside_a_copy_is_an_error(data: bytes) -> None:
    with pytest.raises(WireError):
        streaming().receive_data(data)


@pytest.mark.parametrize("data", [b"\0\0\0\0", b"\xff\xff\xff\xff", struct.pack("!II", 8, 2 << 16)])
def test_a_stranger_at_the_door_is_an_error(data: bytes) -> None:
    with pytest.raises(WireError):
        WalSender("15").receive_data(data)
