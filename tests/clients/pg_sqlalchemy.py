"""Reads a ledger's tables over the PostgreSQL wire with SQLAlchemy 2, and checks what it sees.

    python pg_sqlalchemy.py HOST PORT USER KEY
"""

import datetime
import sys

import sqlalchemy as sa

HOST, PORT, USER, KEY = sys.argv[1:5]
url = sa.URL.create("postgresql+psycopg", USER, KEY, HOST, int(PORT), "bailiwick")
engine = sa.create_engine(url)

inspector = sa.inspect(engine)
tables = inspector.get_table_names()
assert {"events", "grants", "calls", "revocations"} <= set(tables), tables
assert "public" in inspector.get_schema_names() and inspector.get_view_names() == []
assert inspector.has_table("events") and not inspector.has_table("nothing")
columns = {column["name"]: column for column in inspector.get_columns("events")}
assert isinstance(columns["seq"]["type"], sa.BIGINT) and not columns["seq"]["nullable"]
assert isinstance(columns["ts"]["type"], sa.TIMESTAMP) and columns["ts"]["type"].timezone
assert isinstance(columns["link"]["type"], sa.dialects.postgresql.BYTEA)
assert isinstance(columns["agent_id"]["type"], sa.TEXT) and columns["agent_id"]["nullable"]
for about in ("foreign_keys", "indexes", "unique_constraints", "check_constraints"):
    assert getattr(inspector, f"get_{about}")("events") == [], about
assert inspector.get_pk_constraint("events")["constrained_columns"] == []

metadata = sa.MetaData()
metadata.reflect(engine)
assert set(metadata.tables) == set(tables)
events = metadata.tables["events"]
since = datetime.datetime(2020, 1, 1, tzinfo=datetime.timezone.utc)
with engine.connect() as connection:
    first = sa.select(events.c.seq, events.c.ts, events.c.kind).where(events.c.ts >= since)
    rows = connection.execute(first.order_by(events.c.seq).limit(3)).all()
    assert [row.seq for row in rows] == [0, 1, 2] and rows[0].kind == "ledger.created", rows
    kinds = sa.select(events.c.kind, sa.func.count()).group_by(events.c.kind)
    assert sum(count for _, count in connection.execute(kinds)) >= 3
    among = sa.select(sa.func.count()).where(events.c.kind.in_(["ledger.created", "x"]))
    assert connection.scalar(among) == 1
print("all is well")
