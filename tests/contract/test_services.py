"""The test house itself: the servers that other tests stand on answer."""

import socket

import psycopg
import pytest
import sqlalchemy as sa

from inference.store import tables
from inference.store.database import Database
from tests.services import Valkey, answers


def test_a_database_of_each_kind_has_every_table_and_no_row_but_counters(database: Database):
    with database.read() as connection:
        counts = {
            table.name: connection.execute(sa.select(sa.func.count()).select_from(table)).scalar_one()
            for table in tables.metadata.sorted_tables
        }

    assert {name: count for name, count in counts.items() if count} == {"access_epoch": 1, "audit_head": 1}


def test_rows_of_one_test_are_gone_in_the_next(database: Database):
    row = {"id": "t", "name": "t", "created_at": 0.0}

    with database.write() as connection:
        connection.execute(tables.tenants.insert(), row)

    with database.read() as connection:
        assert connection.execute(sa.select(tables.tenants.c.id)).scalars().all() == ["t"]


test_rows_of_one_test_are_gone_in_the_next_one_too = test_rows_of_one_test_are_gone_in_the_next


def test_postgresql_runs_with_synchronous_commit(postgres_url: str):
    with psycopg.connect(postgres_url) as connection:
        assert connection.execute("SHOW synchronous_commit").fetchone() == ("on",)


def test_valkey_is_empty_and_keeps_an_append_only_file(redis_url: str, shared_valkey: Valkey):
    assert shared_valkey.say("DBSIZE") == b":0\r\n"
    assert b"yes" in shared_valkey.say("CONFIG", "GET", "appendonly")


def test_a_killed_valkey_comes_back_with_its_data(own_valkey: Valkey):
    own_valkey.say("SET", "kept", "yes")

    own_valkey.process.kill()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", own_valkey.port), timeout=1)
    own_valkey.start()

    assert b"yes" in own_valkey.say("GET", "kept")


def test_rabbitmq_speaks_amqp(rabbitmq_url: str):
    port = int(rabbitmq_url.split(":")[-1].rstrip("/"))

    assert answers(port, say=b"AMQP\x00\x00\x09\x01", expect=b"RabbitMQ")
