"""Notes every change of a job and every life of an instance, by triggers, in a database made for a test.

`python -m tests.chaos.trace --database URL` once after the migrations and before any load. What the rows of the
product cannot tell afterwards is then known as well: claims that were given back, and the order of all things.
"""

import argparse

import sqlalchemy as sa

from inference.settings import StoreSettings
from inference.store.database import Database

FIELDS = (
    "at, job_id, service_id, before, state, generation, attempt, is_claimable, is_cancel_asked, order_key, "
    "instance_id, instance_generation"
)
NOW = {
    True: "((julianday('now') - 2440587.5) * 86400)",
    False: "extract(epoch FROM clock_timestamp())::float8",
}
VALUES = (
    "{now}, NEW.id, NEW.service_id, {before}, NEW.state, NEW.generation, NEW.attempt, "
    "CASE WHEN NEW.state = 'pending' AND NEW.not_before IS NULL THEN 1 ELSE 0 END, "
    "CASE WHEN NEW.cancel_requested_at IS NULL THEN 0 ELSE 1 END, "
    "NEW.order_key, NEW.instance_id, NEW.instance_generation"
)
WATCHED = "state, generation, attempt, not_before, order_key, cancel_requested_at"
CHANGED = (
    "OLD.state <> NEW.state OR OLD.generation <> NEW.generation OR OLD.attempt <> NEW.attempt "
    "OR (OLD.not_before IS NULL) <> (NEW.not_before IS NULL) OR OLD.order_key <> NEW.order_key "
    "OR (OLD.cancel_requested_at IS NULL) <> (NEW.cancel_requested_at IS NULL)"
)
TRIGGERS = (
    ("moves_insert", "INSERT ON jobs", "true", "chaos_moves", FIELDS, VALUES.replace("{before}", "NULL")),
    ("moves", f"UPDATE OF {WATCHED} ON jobs", CHANGED, "chaos_moves", FIELDS, VALUES.replace("{before}", "OLD.state")),
    ("lives_insert", "INSERT ON instances", "true", "chaos_lives", "at, id, generation, pid", None),
    ("lives", "UPDATE OF generation, pid ON instances", "true", "chaos_lives", "at, id, generation, pid", None),
)


def install(database: Database) -> None:
    """Makes the tables `chaos_moves` and `chaos_lives` and the triggers that fill them. Only once."""
    is_sqlite = database.is_sqlite
    number = "INTEGER PRIMARY KEY AUTOINCREMENT" if is_sqlite else "bigserial PRIMARY KEY"
    real = "REAL" if is_sqlite else "float8"
    with database.write() as connection:
        connection.exec_driver_sql(
            f"CREATE TABLE chaos_moves (seq {number}, at {real}, job_id TEXT, service_id TEXT, before TEXT, "
            "state TEXT, generation INTEGER, attempt INTEGER, is_claimable INTEGER, is_cancel_asked INTEGER, "
            f"order_key {real}, instance_id TEXT, instance_generation INTEGER)"
        )
        connection.exec_driver_sql(
            f"CREATE TABLE chaos_lives (seq {number}, at {real}, id TEXT, generation INTEGER, pid INTEGER)"
        )
        for name, when, condition, table, fields, values in TRIGGERS:
            filled = (values or "{now}, NEW.id, NEW.generation, NEW.pid").replace("{now}", NOW[is_sqlite])
            note = f"INSERT INTO {table} ({fields}) VALUES ({filled})"
            for statement in _statements(name, when, condition, note, is_sqlite=is_sqlite):
                connection.execute(sa.text(statement))


def _statements(name: str, when: str, condition: str, note: str, *, is_sqlite: bool) -> list[str]:
    if is_sqlite:
        return [f"CREATE TRIGGER chaos_{name} AFTER {when} WHEN {condition} BEGIN {note}; END"]
    return [
        f"CREATE FUNCTION chaos_{name}() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN {note}; RETURN NULL; END $$",
        f"CREATE TRIGGER chaos_{name} AFTER {when} FOR EACH ROW WHEN ({condition}) EXECUTE FUNCTION chaos_{name}()",
    ]


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos.trace", description=__doc__)
    parser.add_argument("--database", required=True)
    database = Database(parser.parse_args().database, StoreSettings())
    install(database)
    database.close()


if __name__ == "__main__":
    main()
