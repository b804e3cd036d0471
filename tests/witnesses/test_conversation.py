"""One Postgres connection read from its bytes, without a server; `test_wire` does the same with one."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import count
from struct import pack

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.witnesses.conversation import ANSWERED, ASKED, Conversation, Frames
from harness.witnesses.statement import Statement


def message(what: str, body: bytes = b"") -> bytes:
    return what.encode() + pack("!I", len(body) + 4) + body


def query(sql: str) -> bytes:
    return message("Q", sql.encode() + b"\0")


def parse(sql: str, name: str = "") -> bytes:
    return message("P", name.encode() + b"\0" + sql.encode() + b"\0\0\0")


def execute(name: str = "") -> bytes:
    """Bind, Describe and Execute the unnamed portal of a prepared statement, with one parameter that must never be seen."""
    bind = message("B", b"\0" + name.encode() + b"\0" + pack("!HHI", 0, 1, 6) + b"secret" + pack("!H", 0))
    return bind + message("D", b"P\0") + message("E", b"\0\0\0\0\0")


def done(tag: str) -> bytes:
    return message("C", tag.encode() + b"\0")


def error(code: str, severity: str = "ERROR") -> bytes:
    return message("E", f"S{severity}\0V{severity}\0C{code}\0MCould not\0\0".encode())


SYNC, FLUSH, COPY_DONE = message("S"), message("H"), message("c")
PARSED, BOUND, EMPTY, COPY_IN = message("1"), message("2"), message("I"), message("G", b"\0\0\0")
DESCRIBED, ROW = message("T", b"\0\0"), message("D", b"\0\0")


def ready(status: str = "I") -> bytes:
    return message("Z", status.encode())


class Talk:
    """A conversation past its opening, and what it has written."""

    def __init__(self) -> None:
        self.written: list[Statement] = []
        self.clock = count(100, 10)
        self.conversation = Conversation(1, 0, self.write)
        opening = message("R", b"\0\0\0\0") + message("S", b"a\0b\0") + message("K", pack("!II", 4711, 99)) + ready()
        self.answer(opening)
        (opened,) = self.written
        assert (opened.kind, opened.t0, opened.t1, opened.trips, opened.error) == ("connect", 0, 100, 0, None)
        assert (self.conversation.pid, self.conversation.status) == (4711, "I")
        self.written.clear()

    def write(self, statements: Iterable[Statement]) -> None:
        self.written.extend(statements)

    def ask(self, *messages: bytes) -> Talk:
        self.conversation.asked(b"".join(messages), next(self.clock))
        return self

    def answer(self, *messages: bytes) -> Talk:
        self.conversation.answered(b"".join(messages), next(self.clock))
        return self

    @property
    def seen(self) -> list[tuple[str, int, bool, str | None]]:
        """Shape, round trips, whether it committed, error code; and forget them."""
        seen = [(x.shape, x.trips, x.commits, x.error and (x.error[1] or x.error[0])) for x in self.written]
        self.written.clear()
        return seen


def test_a_simple_query_is_a_trip_that_commits_by_itself() -> None:
    talk = Talk().ask(query("SELECT 1")).answer(DESCRIBED, ROW, done("SELECT 1"), ready())
    (line,) = talk.written
    assert (line.t0, line.t1, line.kind) == (110, 120, "read")
    assert talk.seen == [("SELECT ?", 1, True, None)]


def test_a_transaction_commits_with_its_commit_only() -> None:
    talk = Talk()
    for sql, tag, status in [
        ("BEGIN", "BEGIN", "T"),
        ("UPDATE t SET a = 1", "UPDATE 1", "T"),
        ("SAVEPOINT s", "SAVEPOINT", "T"),
        ("ROLLBACK TO s", "ROLLBACK", "T"),
        ("COMMIT", "COMMIT", "I"),
        ("COMMIT", "COMMIT", "I"),
        ("BEGIN", "BEGIN", "T"),
        ("ROLLBACK", "ROLLBACK", "I"),
        ("BEGIN", "BEGIN", "T"),
        ("COMMIT AND CHAIN", "COMMIT", "T"),
        ("UPDATE t SET a = 1", "UPDATE 1", "T"),
        ("COMMIT", "COMMIT", "I"),
        ("BEGIN", "BEGIN", "T"),
        ("PREPARE TRANSACTION 'x'", "PREPARE TRANSACTION", "I"),
        ("COMMIT PREPARED 'x'", "COMMIT PREPARED", "I"),
    ]:
        talk.ask(query(sql)).answer(done(tag), ready(status))
        assert talk.conversation.status == status
    commits = [n for n, (_, trips, committed, _) in enumerate(talk.seen) if committed and trips == 1]
    assert commits == [4, 9, 11, 14]


def test_a_commit_of_a_failed_transaction_did_not_commit() -> None:
    talk = Talk().ask(query("BEGIN")).answer(done("BEGIN"), ready("T"))
    talk.ask(query("INSERT INTO t VALUES (1)")).answer(error("23505"), ready("E"))
    talk.ask(query("COMMIT")).answer(done("ROLLBACK"), ready())
    talk.ask(query("SELECT 1")).answer(done("SELECT 1"), ready())
    assert talk.seen == [
        ("BEGIN", 1, False, None),
        ("INSERT INTO t VALUES (…)", 1, False, "23505"),
        ("COMMIT", 1, False, None),
        ("SELECT ?", 1, True, None),
    ]


def test_each_statement_of_one_query_counts_and_the_last_commits() -> None:
    talk = Talk().ask(query("INSERT INTO t VALUES (';');; UPDATE t SET a = 1; SELECT 2;"))
    talk.answer(done("INSERT 0 1"), done("UPDATE 1"), DESCRIBED, done("SELECT 1"), ready())
    assert talk.seen == [
        ("INSERT INTO t VALUES (…)", 1, False, None),
        ("UPDATE t SET a = ?", 0, False, None),
        ("SELECT ?", 0, True, None),
    ]
    talk.ask(query("BEGIN; UPDATE t SET a = 1; COMMIT; SELECT 1/0; SELECT 2"))
    talk.answer(done("BEGIN"), done("UPDATE 1"), done("COMMIT"), error("22012"), ready())
    assert talk.seen == [
        ("BEGIN", 1, False, None),
        ("UPDATE t SET a = ?", 0, False, None),
        ("COMMIT", 0, True, None),
        ("SELECT ?/?", 0, False, "22012"),
    ]
    talk.ask(query("BEGIN; SAVEPOINT s; ROLLBACK TO s; COMMIT; COMMIT"))
    talk.answer(done("BEGIN"), done("SAVEPOINT"), done("ROLLBACK"), done("COMMIT"), done("COMMIT"), ready())
    assert [committed for _, _, committed, _ in talk.seen] == [False, False, False, True, False]
    assert talk.ask(query(" -- ping")).answer(EMPTY, ready()).seen == [("", 1, False, None)]


def test_preparing_apart_is_no_trip_and_values_are_never_seen() -> None:
    talk = Talk().ask(parse("SELECT $1", "s1"), SYNC).answer(PARSED, ready())
    talk.ask(message("D", b"Ss1\0"), SYNC).answer(DESCRIBED, ready())
    talk.ask(execute("s1"), SYNC).answer(BOUND, DESCRIBED, ROW, done("SELECT 1"), ready())
    talk.ask(execute("s1"), SYNC).answer(BOUND, DESCRIBED, ROW, done("SELECT 1"), ready())
    assert "secret" not in repr(vars(talk.conversation))
    assert talk.seen == [("SELECT ?", 1, True, None)] * 2


def test_preparing_what_cannot_be_prepared_is_written_with_its_error() -> None:
    talk = Talk().ask(parse("SELEC 1", "s1"), SYNC).answer(error("42601"), ready())
    assert talk.seen == [("SELEC ?", 0, False, "42601")]
    talk.ask(parse("SELEC 2"), execute(), SYNC).answer(error("42601"), ready())
    assert talk.seen == [("SELEC ?", 1, False, "42601")]


def test_a_hundred_groups_sent_at_once_are_one_trip() -> None:
    group = parse("UPDATE t SET a = $1") + execute() + SYNC
    talk = Talk().ask(group * 50).ask(group * 50)
    talk.answer((PARSED + BOUND + done("UPDATE 1") + ready()) * 100)
    assert talk.seen == [("UPDATE t SET a = ?", n == 0, True, None) for n in range(100)]
    assert talk.ask(query("SELECT 1")).answer(done("SELECT 1"), ready()).seen[0][1] == 1


def test_a_group_sent_before_the_last_answer_arrived_is_pipelined() -> None:
    talk = Talk().ask(query("SELECT 1"))
    talk.conversation.answered(done("SELECT 1") + ready(), 5000)  # at the client at 5000, after some latency
    talk.conversation.asked(query("SELECT 2"), 4000)
    talk.conversation.answered(done("SELECT 1") + ready(), 6000)
    talk.conversation.asked(query("SELECT 3"), 6000)
    talk.conversation.answered(done("SELECT 1") + ready(), 7000)
    assert [trips for _, trips, _, _ in talk.seen] == [1, 0, 1]


def test_a_flush_ends_a_trip_as_a_sync_does() -> None:
    talk = Talk().ask(parse("SELECT 1"), execute(), FLUSH).answer(PARSED, BOUND, done("SELECT 1"))
    talk.ask(execute(), FLUSH).answer(BOUND, done("SELECT 1"))
    talk.ask(SYNC).answer(ready())
    assert talk.seen == [("SELECT ?", 1, False, None), ("SELECT ?", 1, True, None)]


def test_in_a_pipeline_with_one_sync_the_last_statement_commits() -> None:
    talk = Talk().ask((parse("UPDATE t SET a = 1") + execute()) * 3, SYNC)
    talk.answer((PARSED + BOUND + done("UPDATE 1")) * 3, ready())
    assert [(trips, committed) for _, trips, committed, _ in talk.seen] == [(1, False), (0, False), (0, True)]
    talk.ask(parse("UPDATE t SET a = 1"), execute(), parse("BEGIN"), execute(), parse("SELECT 1"), execute(), SYNC)
    talk.answer(*[PARSED + BOUND + done(tag) for tag in ("UPDATE 1", "BEGIN", "SELECT 1")], ready("T"))
    talk.ask(parse("COMMIT"), execute(), parse("SELECT 2"), execute(), SYNC)
    talk.answer(PARSED + BOUND + done("COMMIT"), PARSED + BOUND + done("SELECT 1"), ready())
    assert [committed for _, _, committed, _ in talk.seen] == [False, False, False, True, True]


def test_what_follows_an_error_in_a_pipeline_was_never_run() -> None:
    steps = [parse(f"INSERT INTO t{n} VALUES (1)") + execute() for n in range(4)]  # noqa: S608  # a text to be read
    talk = Talk().ask(steps[0], steps[1], steps[2]).answer(PARSED, BOUND, done("INSERT 0 1"), PARSED, error("23505"))
    talk.ask(steps[3], SYNC, query("SELECT 1")).answer(ready(), done("SELECT 1"), ready())
    assert talk.seen == [
        ("INSERT INTO t0 VALUES (…)", 1, False, None),
        ("INSERT INTO t1 VALUES (…)", 0, False, "23505"),
        ("SELECT ?", 0, True, None),
    ]


def test_a_sync_that_cannot_commit_gives_its_error_to_the_last_statement() -> None:
    talk = Talk().ask(parse("UPDATE t SET a = 1"), execute(), SYNC)
    talk.answer(PARSED, BOUND, done("UPDATE 1"), error("40001"), ready())
    assert talk.seen == [("UPDATE t SET a = ?", 1, False, "40001")]


def test_a_portal_read_in_parts_is_a_statement_for_each_part() -> None:
    more = message("E", b"\0\0\0\0\x0a")
    talk = Talk().ask(parse("SELECT 1"), execute(), FLUSH).answer(PARSED, BOUND, ROW, message("s"))
    talk.ask(more, SYNC).answer(ROW, done("SELECT 2"), ready())
    assert [trips for _, trips, _, _ in talk.seen] == [1, 1]


@pytest.mark.parametrize("together", [False, True])
def test_copy_in_ignores_the_sync_sent_with_its_execute(*, together: bool) -> None:
    data = message("d", b"x" * 100_000)
    talk = Talk().ask(parse("COPY t FROM STDIN"), execute(), SYNC)
    if together:
        talk.ask(data, COPY_DONE, SYNC).answer(PARSED, BOUND, COPY_IN)
    else:
        talk.answer(PARSED, BOUND, COPY_IN).ask(data).ask(SYNC).ask(COPY_DONE, SYNC)
    talk.answer(done("COPY 1"), ready())
    talk.ask(query("SELECT 1")).answer(done("SELECT 1"), ready())
    assert talk.seen == [("COPY t FROM STDIN", 1, True, None), ("SELECT ?", 1, True, None)]


def test_a_copy_that_fails_leaves_the_next_statement_in_step() -> None:
    talk = Talk().ask(query("COPY t FROM STDIN")).answer(COPY_IN)
    talk.ask(message("d", b"bad")).answer(error("22P02"), ready())
    talk.ask(message("d", b"more"), COPY_DONE, query("SELECT 1")).answer(done("SELECT 1"), ready())
    talk.ask(parse("COPY t FROM STDIN"), execute(), SYNC).answer(PARSED, BOUND, COPY_IN, error("22P02"))
    talk.ask(message("f", b"no\0"), SYNC).answer(ready())
    talk.ask(query("SELECT 2")).answer(done("SELECT 1"), ready())
    assert [(shape, code) for shape, _, _, code in talk.seen] == [
        ("COPY t FROM STDIN", "22P02"),
        ("SELECT ?", None),
        ("COPY t FROM STDIN", "22P02"),
        ("SELECT ?", None),
    ]


def test_notices_and_notifications_are_no_answers() -> None:
    talk = Talk().answer(message("A", b"\0\0\0\1jobs\0\0")).ask(query("SELECT 1"))
    talk.answer(message("N", b"SNOTICE\0C00000\0\0"), message("A", b"\0\0\0\1jobs\0\0"), done("SELECT 1"), ready())
    assert talk.seen == [("SELECT ?", 1, True, None)]


def test_a_lost_connection_leaves_what_was_unanswered_with_that_error() -> None:
    talk = Talk().ask(parse("UPDATE t SET a = 1"), execute(), parse("COMMIT"), execute(), SYNC)
    talk.answer(PARSED, BOUND, done("UPDATE 1"))
    talk.conversation.lost(900)
    assert [(x.shape, x.error, x.commits) for x in talk.written] == [
        ("UPDATE t SET a = ?", None, False),
        ("COMMIT", ("connection", None), False),
    ]


def test_a_backend_that_is_terminated_says_so_in_the_statement_it_ran() -> None:
    talk = Talk().ask(query("SELECT pg_sleep(9)")).answer(error("57P01", "FATAL"))
    talk.conversation.lost(900)
    (line,) = talk.written
    assert line.error == ("connection", "57P01")
    idle = Talk().answer(error("57P01", "FATAL"))
    idle.conversation.lost(900)
    assert idle.written == []


def test_a_login_that_fails_is_written_as_a_failed_connect() -> None:
    written: list[Statement] = []
    conversation = Conversation(3, 50, written.extend)
    conversation.asked(message("p", b"hunter2\0"), 60)
    conversation.answered(error("28P01", "FATAL"), 70)
    conversation.lost(80)
    assert ord("p") not in ASKED, "a password would be read"
    (line,) = written
    assert (line.kind, line.connection, line.t0, line.t1, line.error) == ("connect", 3, 50, 70, ("other", "28P01"))
    conversation = Conversation(4, 50, written.extend)
    conversation.lost(90)
    assert written[-1].error == ("connection", None)


def test_bytes_that_are_no_protocol_are_refused() -> None:
    with pytest.raises(ValueError, match="not the Postgres protocol"):
        Frames(ANSWERED).feed(b"C\0\0\0\1")


def _script() -> list[tuple[bool, bytes]]:
    """A long exchange: (whether the client speaks, the bytes), in order."""
    big = "SELECT '" + "x" * 70_000 + "'"
    group = parse("UPDATE t SET a = $1") + execute() + SYNC
    return [
        (True, query("BEGIN")),
        (False, done("BEGIN") + ready("T")),
        (True, parse("SELECT 1", "s1") + SYNC),
        (False, PARSED + ready("T")),
        (True, execute("s1") + SYNC),
        (False, BOUND + ROW * 50 + message("D", b"r" * 9000) + done("SELECT 51") + ready("T")),
        (True, query("COMMIT")),
        (False, done("COMMIT") + ready()),
        (True, query(big) + group * 3),
        (False, ROW + done("SELECT 1") + ready() + (PARSED + BOUND + done("UPDATE 1") + ready()) * 3),
        (True, parse("COPY t FROM STDIN") + execute() + SYNC),
        (False, PARSED + BOUND + COPY_IN),
        (True, message("d", b"c" * 5000) * 3 + COPY_DONE + SYNC),
        (False, done("COPY 3") + ready()),
        (True, group + parse("SELEC") + execute() + SYNC),
        (False, PARSED + BOUND + done("UPDATE 1") + ready() + error("42601") + ready()),
    ]


def _replay(script: list[tuple[bool, bytes]], cuts: Iterable[int]) -> list[tuple[str, int, bool, str | None]]:
    talk, sizes = Talk(), iter(cuts)
    for asks, data in script:
        rest = data
        while rest:
            size = next(sizes, len(rest))
            (talk.ask if asks else talk.answer)(rest[:size])
            rest = rest[size:]
    return talk.seen


@given(st.lists(st.integers(1, 40) | st.integers(1, 30_000), max_size=400))
def test_however_the_network_cuts_the_bytes_the_statements_are_the_same(cuts: list[int]) -> None:
    assert _replay(_script(), cuts) == _replay(_script(), [])


def test_one_byte_at_a_time_gives_the_same_statements() -> None:
    script = [(asks, data) for asks, data in _script() if len(data) < 20_000]
    assert _replay(script, [1] * sum(len(data) for _, data in script)) == _replay(script, [])
