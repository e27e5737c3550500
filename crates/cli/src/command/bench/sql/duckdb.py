# Asks DuckDB what standard input says, and prints seconds and rows of each question.
import datetime
import glob
import json
import re
import sys
import tempfile
import time

import duckdb

told = json.load(sys.stdin)
db = duckdb.connect()
db.execute(f"set threads = {int(told['threads'])}")
db.execute("set timezone = 'UTC'")
db.execute("set enable_progress_bar = false")
for table, pattern in [
    ("events", "segments/seg-*"),
    ("calls", "derived/calls-*"),
    ("grants", "derived/grants-*"),
]:
    files = sorted(glob.glob(f"{told['dir']}/{pattern}.parquet"))
    db.execute(f"create view {table} as select * from read_parquet({files!r})")
with tempfile.NamedTemporaryFile("w", suffix=".json") as rows:
    json.dump(told["revocations"], rows)
    rows.flush()
    db.execute(f"create table revocations as select * from read_json('{rows.name}')")


def literal(parameter):
    kind, value = parameter["type"], parameter["value"]
    if value is None or value == "null":
        return f"null::{kind}"
    if value == "now":
        value = datetime.datetime.now(datetime.timezone.utc).isoformat()
    text = str(value).replace("'", "''")
    return f"'{text}'::{kind}"


answers = {}
for question in told["questions"]:
    sql = re.sub(r"--[^\n]*", "", question["sql"])
    for name, parameter in question["parameters"].items():
        sql = re.sub(rf"\${name}\b", lambda _: literal(parameter), sql)
    seconds = []
    for run in range(told["runs"] + 1):
        before = time.perf_counter()
        db.execute(f"create or replace temp table answer as {sql}")
        seconds.append(time.perf_counter() - before)
    rows = db.execute("select count(*) from answer").fetchone()[0]
    answers[question["name"]] = (sorted(seconds[1:])[len(seconds[1:]) // 2], rows)
json.dump(answers, sys.stdout)
