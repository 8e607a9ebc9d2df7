"""Garbage of the blob store: what goes, what stays, and that a row which comes meanwhile keeps its content."""

import os
import threading
import time

import pytest
import sqlalchemy as sa

from inference.blobs.files import FileBlobs
from inference.blobs.s3 import S3Blobs
from inference.errors import NotFound, StoreUnavailable, Unavailable, UploadNotFound
from inference.ids import DEFAULT_TENANT, new_id
from inference.registry import collect as room
from inference.registry import uploads
from inference.registry.ports import RegistryPorts
from inference.settings import BlobsSettings, EnginesSettings, RegistrySettings
from inference.store import tables
from inference.store.database import Database
from inference.store.models import SqlModels
from inference.store.ticks import SqlTicks
from inference.store.uploads import SqlUploads

GRACE_S = 3600.0


@pytest.fixture
def in_a_bucket(database: Database, tmp_path, s3) -> RegistryPorts:
    values = {"s3_endpoint": s3.url, "s3_access_key": s3.KEY, "s3_secret_key": s3.SECRET}
    return make_ports(
        database, S3Blobs(BlobsSettings(s3_bucket="tests", s3_prefix=f"{new_id()}/", **values), tmp_path / "cache")
    )


@pytest.fixture
def ports(database: Database, tmp_path) -> RegistryPorts:
    return make_ports(database, FileBlobs(tmp_path / "blobs"))


def make_ports(database, blobs):
    return RegistryPorts(
        models=SqlModels(database),
        uploads=SqlUploads(database),
        blobs=blobs,
        settings=RegistrySettings(),
        engines=EnginesSettings(),
        keep_s=3600.0,
        marks=SqlTicks(database),
    )


def send(ports, content, **options):
    return uploads.receive(ports, tenant_id=DEFAULT_TENANT, stream=[content], **options)


def age(ports, key):
    """As if it had been written before the grace."""
    os.utime(ports.blobs.path(key), (1.0, 1.0))


def collect(ports):
    return room.collect(ports, grace_s=GRACE_S)


def test_an_upload_goes_when_its_time_is_over_and_its_content_after_the_grace(ports, database):
    short, long = send(ports, b"short", keep_s=0.001), send(ports, b"long")
    time.sleep(0.01)

    first = collect(ports)

    assert (first.uploads, first.blobs) == (1, 0)
    with pytest.raises(UploadNotFound):
        ports.uploads.get(DEFAULT_TENANT, short.id)
    for upload in (short, long):
        age(ports, upload.key)
    assert collect(ports) == room.Collected(blobs=1, bytes=5)
    assert [ports.blobs.has(upload.key) for upload in (short, long)] == [False, True]


def test_a_content_that_a_result_or_a_second_upload_names_stays(ports, database):
    stored, twice = ports.blobs.put_bytes(b"result"), [send(ports, b"same") for _ in range(2)]
    with database.write() as connection:
        row = {"job_id": new_id(), "body": b"", "sha256": stored.key, "size_bytes": 6}
        connection.execute(tables.results.insert(), row)
    for key in (stored.key, twice[0].key):
        age(ports, key)

    uploads.delete(ports, tenant_id=DEFAULT_TENANT, upload_id=twice[0].id)

    assert collect(ports).blobs == 0
    assert ports.models.bytes_named() == {"models": 0, "uploads": 4, "results": 6}
    uploads.delete(ports, tenant_id=DEFAULT_TENANT, upload_id=twice[1].id)
    assert not ports.blobs.has(twice[1].key)


def test_a_row_that_comes_while_its_content_is_being_collected_keeps_it(ports, database, monkeypatch):
    stored = ports.blobs.put_bytes(b"late")
    age(ports, stored.key)
    count = SqlModels.blob_users

    def users(self, key):
        ports.uploads.insert(DEFAULT_TENANT, new_id(), stored)  # between the look and the act
        return count(self, key)

    monkeypatch.setattr(SqlModels, "blob_users", users)

    assert collect(ports).blobs == 0
    assert ports.blobs.path(stored.key).read_bytes() == b"late"


def test_a_content_that_is_written_again_meanwhile_stays_though_nobody_names_it_yet(ports):
    stored = ports.blobs.put_bytes(b"again")
    age(ports, stored.key)
    (found,) = ports.blobs.old(age_s=GRACE_S)

    ports.blobs.put_bytes(b"again")

    assert not ports.blobs.collect(found, unless=lambda: False)
    assert ports.blobs.has(stored.key)


def test_writers_and_collectors_at_once_lose_nothing_that_is_named(ports):
    stop, lost = threading.Event(), []

    def gather():
        while not stop.is_set():
            for one in filter(lambda one: one.is_whole, ports.blobs.old(age_s=0.0)):
                ports.blobs.collect(one, unless=lambda key=one.key: ports.models.blob_users(key) > 0)

    thread = threading.Thread(target=gather)
    thread.start()
    for number in range(30):
        try:
            upload = send(ports, b"%d" % (number % 3))
        except Unavailable:
            continue  # without any grace a content may go before it has a name, and then the client is told
        try:
            ports.blobs.path(upload.key)
        except NotFound:
            time.sleep(0.05)  # out of sight for a moment, perhaps
            lost += [] if ports.blobs.has(upload.key) else [number]
        uploads.delete(ports, tenant_id=DEFAULT_TENANT, upload_id=upload.id)
    stop.set()
    thread.join()

    assert lost == []


def test_what_a_crash_left_behind_goes_and_a_content_half_taken_away_comes_back(ports):
    upload = send(ports, b"named")
    folder = ports.blobs._folder / "incoming"
    ports.blobs.path(upload.key).rename(folder / f"{upload.key}.abc")
    (folder / "tmp123").write_bytes(b"half")
    strange = ports.blobs._folder / upload.key[:2] / "notes.txt"
    strange.write_text("somebody's")
    for path in (*folder.iterdir(), strange):
        os.utime(path, (1.0, 1.0))

    collected = collect(ports)

    assert (collected.blobs, list(folder.iterdir())) == (1, [])
    assert ports.blobs.path(upload.key).read_bytes() == b"named"
    assert strange.exists()


def test_a_bucket_is_collected_alike(in_a_bucket, monkeypatch):
    ports, count = in_a_bucket, SqlModels.blob_users
    named, late, unnamed = send(ports, b"named"), ports.blobs.put_bytes(b"late"), ports.blobs.put_bytes(b"unnamed")

    def users(self, key):
        if key == late.key:
            ports.uploads.insert(DEFAULT_TENANT, new_id(), late)  # between the look and the act
        return count(self, key)

    monkeypatch.setattr(SqlModels, "blob_users", users)

    assert room.collect(ports, grace_s=3600.0).blobs == 0
    assert room.collect(ports, grace_s=-2.0) == room.Collected(blobs=1, bytes=7)
    assert [ports.blobs.has(one.key) for one in (named, late, unnamed)] == [True, True, False]
    assert [one.is_whole for one in ports.blobs.old(age_s=-60.0)] == [True, True]


def test_a_database_that_does_not_own_the_store_takes_nothing_from_it(ports, in_a_bucket, tmp_path):
    for one in (ports, in_a_bucket):
        stored = one.blobs.put_bytes(b"of the other")
        mark = one.blobs.mark("the other's")

        assert (mark, one.blobs.mark("mine"), one.blobs.mark()) == ("the other's",) * 3
        assert room.collect(one, grace_s=-2.0).blobs == 0
        assert one.blobs.has(stored.key)


def test_the_first_database_to_collect_owns_the_store_for_good(ports, database):
    before = ports.blobs.mark()

    for _ in range(3):
        collect(ports)

    with database.read() as connection:
        names = list(connection.execute(sa.select(tables.ticks.c.name)).scalars())
    assert (before, names) == ("", [f"blobs.{ports.blobs.mark()}"])


def test_nothing_goes_while_the_database_cannot_say_who_names_it(ports, monkeypatch):
    stored = ports.blobs.put_bytes(b"unsure")
    age(ports, stored.key)

    def away(self, key):
        raise StoreUnavailable("away", part="store")

    monkeypatch.setattr(SqlModels, "blob_users", away)

    assert collect(ports).blobs == 0
    assert ports.blobs.has(stored.key)
