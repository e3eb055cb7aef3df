"""Makes the databases of an OpenClaw, with the tables and columns that 2026.9.6 has.

usage: database.py shared|agent PATH USER_VERSION < JSON   {"store": {…}, "state": {…}, "rows": {…}}

With `--open` it stays, its last transaction in the write-ahead log alone, until its input ends.
"""

import json
import sqlite3
import sys

kind, path, version = sys.argv[1:4]
keep_open = "--open" in sys.argv
given = json.loads(sys.stdin.readline())
database = sqlite3.connect(path, isolation_level=None)
database.execute("PRAGMA page_size = 4096")
database.execute("PRAGMA auto_vacuum = INCREMENTAL")
database.execute("PRAGMA journal_mode = WAL")
database.execute("CREATE TABLE schema_meta (meta_key TEXT NOT NULL PRIMARY KEY, role TEXT NOT NULL)")
for number in range(60):
    database.execute(f"CREATE TABLE other_{number} (a TEXT, b INTEGER CHECK (b > 0))")
if kind == "shared":
    table, key, value, time = "config_machine_state", "state_key", "value_json", "updated_at_ms"
    rows = dict(given.get("rows", {}))
    if "store" in given:
        rows["authProfiles.store"] = given["store"]
        rows["authProfiles.state"] = given.get("state", {"version": 1})
    rows["aaa.filler"] = {"long": "é" * 90000}
    tables = [(table, key, value, time, rows)]
else:
    tables = [
        ("auth_profile_store", "store_key", "store_json", "updated_at", {"primary": given["store"]}),
        ("auth_profile_state", "state_key", "state_json", "updated_at", {"primary": given.get("state", {"version": 1})}),
    ]
for table, key, value, time, rows in tables:
    database.execute(
        f"CREATE TABLE {table} ({key} TEXT NOT NULL PRIMARY KEY, {value} TEXT NOT NULL, {time} INTEGER NOT NULL)"
    )
database.execute(f"PRAGMA user_version = {int(version)}")
if keep_open:
    database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    database.execute("PRAGMA wal_autocheckpoint = 0")
for table, key, value, time, rows in tables:
    database.execute("BEGIN")
    for name, held in rows.items():
        text = held if isinstance(held, str) else json.dumps(held)
        database.execute(f"INSERT INTO {table} VALUES (?, ?, ?)", (name, text, 1764000000000))
    database.execute("COMMIT")
if keep_open:
    # A transaction that nobody must see.
    table, key, value, time, _ = tables[0]
    database.execute("BEGIN")
    database.execute(f"DELETE FROM {table}")
    print("READY", flush=True)
    sys.stdin.read()
    database.execute("ROLLBACK")
database.close()
