"""Asks a ledger's tables over the PostgreSQL wire with psycopg 3, and checks the answers.

    python pg_psycopg.py HOST PORT USER KEY

Says `all is well` at its end, and what is not otherwise.
"""

import datetime
import sys
import threading
import time
import uuid

import psycopg
from psycopg import errors

HOST, PORT, USER, KEY = sys.argv[1:5]
# More pairs than could be gone through in the time that a question has.
LONG = """select count(*) from events a, events b, events c, events d, events e
          where a.seq + b.seq + c.seq + d.seq + e.seq < 0"""
UTC = datetime.timezone.utc


def connect(**more):
    more = {"host": HOST, "port": PORT, "user": USER, "password": KEY, "dbname": "bailiwick"} | more
    return psycopg.connect(**more)


def refused(error, connection, sql, values=None, code=None):
    try:
        connection.execute(sql, values)
    except error as e:
        assert code is None or code in e.diag.message_detail, (sql, e.diag.message_detail)
    else:
        raise AssertionError(f"{sql} was answered")


def values_of_every_type():
    with connect(autocommit=True) as c:
        since = datetime.datetime(2020, 1, 1, tzinfo=UTC)
        rows = c.execute(
            "select seq, ts, kind, link, depth from events where ts >= %s and seq < %s order by seq",
            (since, 3),
        ).fetchall()
        assert [row[0] for row in rows] == [0, 1, 2], rows
        assert rows[0][2] == "ledger.created" and len(rows[0][3]) == 32 and rows[0][4] is None
        assert all(row[1].tzinfo is not None and row[1] > since for row in rows), rows
        none = c.execute("select seq from events where ts < %s", (since,)).fetchall()
        assert none == [], none
        # Questions are events themselves: both read as far as the table went before.
        (last,) = c.execute("select max(seq) from events").fetchone()
        for table in ("events", "grants", "calls", "agents", "revocations"):
            rows_of = f"select * from {table} where seq <= {last} order by seq"
            text = c.execute(rows_of).fetchall()
            binary = c.cursor(binary=True).execute(rows_of)
            assert text == binary.fetchall(), f"{table} differs in binary"
        given = (
            7, -1, 2**40, 0.5, True, "it's é", b"\x00\xff", None, datetime.date(2026, 11, 23),
            since, uuid.UUID(int=5), ["a", None, 'b "c", d'], [1, 2],
        )
        asked = (
            "select %s::int2, %s::int4, %s::int8, %s::float8, %s::bool, %s::text, %s::bytea,"
            " %s::text, %s::date, %s::timestamptz, %s, %s::text[], %s"
        )
        want = given[:10] + (str(given[10]),) + given[11:]
        for binary in (False, True):
            got = c.cursor(binary=binary).execute(asked, given).fetchone()
            assert got == want, (binary, got)
        named = c.execute("select count(*) from events where kind = any(%s)", (["ledger.created"],))
        assert named.fetchone() == (1,)
        last = c.execute("select max(seq) from events").fetchone()[0]
        told = c.pgconn.parameter_status(b"bailiwick.as_of_seq").decode()
        assert int(told) >= last, (told, last)


def prepared_again_and_again():
    with connect(autocommit=True) as c:
        for seq in range(12):
            kind = c.execute("select kind from events where seq = %s", (seq,), prepare=True)
            assert len(kind.fetchall()) == 1, seq
        with c.cursor() as cursor:
            rows = list(cursor.stream("select seq from events order by seq", size=1))
            assert rows[0] == (0,) and len(rows) > 12
    # A connection that has streamed keeps giving single rows to a pipeline: another one.
    with connect(autocommit=True) as c:
        with c.pipeline():
            cursors = [c.execute("select %s::int8", (n,)) for n in range(5)]
        assert [cursor.fetchone()[0] for cursor in cursors] == [0, 1, 2, 3, 4]


def transactions():
    with connect() as c:
        assert c.execute("select 1").fetchone() == (1,)
        c.commit()
        refused(errors.UndefinedTable, c, "select * from nothing", code="sql_table_unknown")
        refused(errors.InFailedSqlTransaction, c, "select 1")
        c.rollback()
        with c.transaction():
            with c.transaction():
                assert c.execute("show transaction isolation level").fetchone()
        assert c.execute("select 1").fetchone() == (1,)


def what_is_refused():
    with connect(autocommit=True) as c:
        denied = errors.InsufficientPrivilege
        for sql in (
            "create table t (a int)",
            "drop table events",
            "insert into events values (1)",
            "delete from events",
            "copy events to '/tmp/events.csv'",
            "prepare x as select 1",
        ):
            refused(denied, c, sql, code="sql_not_a_read")
        refused(denied, c, "set role admin", code="pg_setting_refused")
        refused(denied, c, "set client_encoding = 'LATIN1'", code="pg_setting_refused")
        refused(errors.UndefinedObject, c, "set dynamic_library_path = '/tmp'")
        refused(denied, c, "select pg_read_file('/etc/passwd')", code="sql_function_refused")
        refused(errors.SyntaxError, c, "select 1; select 2", code="sql_many_statements")
        refused(errors.SyntaxError, c, "selec 1", code="sql_syntax")
        refused(errors.UndefinedColumn, c, "select nothing from events")
        refused(errors.DivisionByZero, c, "select 1 / (seq - seq) from events")
        bad = errors.InvalidTextRepresentation
        refused(bad, c, "select seq from events where seq = %s", ("x",), code="sql_parameter")
        assert c.execute("select 1").fetchone() == (1,)


def cancelled():
    with connect(autocommit=True) as c:
        done = threading.Event()

        def cancel():
            # Again and again: the first word may come before the question does.
            while not done.wait(0.05):
                c.cancel_safe()

        canceller = threading.Thread(target=cancel)
        canceller.start()
        began = time.monotonic()
        refused(errors.QueryCanceled, c, LONG, code="pg_cancelled")
        took = time.monotonic() - began
        done.set()
        canceller.join()
        assert took < 5, f"cancelled after {took} s"
        for _ in range(3):
            # A late word to cancel may still meet one question.
            try:
                assert c.execute("select count(*) from events").fetchone()[0] > 0
                break
            except errors.QueryCanceled:
                pass
        else:
            raise AssertionError("the session answers no more")
        c.execute("set statement_timeout = '150ms'")
        refused(errors.QueryCanceled, c, LONG, code="sql_timeout")
        c.execute("reset statement_timeout")
        assert c.execute("select 1").fetchone() == (1,)


def gone_in_the_middle():
    for _ in range(5):
        c = connect(autocommit=True)
        c.pgconn.send_query(LONG.encode())
        c.pgconn.finish()
        c = connect(autocommit=True)
        c.pgconn.send_query(b"select a.* from events a, events b, events c")
        c.pgconn.finish()
    with connect(autocommit=True) as c:
        assert c.execute("select 1").fetchone() == (1,)


def many_at_once():
    failed = []

    def ask():
        try:
            with connect(autocommit=True) as c:
                for n in range(3):
                    row = c.execute("select count(*), %s::int8 from events", (n,)).fetchone()
                    assert row[0] > 0 and row[1] == n, row
        except BaseException as e:
            failed.append(repr(e))

    threads = [threading.Thread(target=ask) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failed, failed


for check in (
    values_of_every_type,
    prepared_again_and_again,
    transactions,
    what_is_refused,
    cancelled,
    gone_in_the_middle,
    many_at_once,
):
    try:
        check()
    except BaseException as e:
        print(f"{check.__name__}: {e!r}", file=sys.stderr, flush=True)
        raise
print("all is well")
