"""The quota of bytes, for uploads and models."""

import dataclasses
import threading

import pytest

from inference.access.model import ANYBODY, Limits, Principal, Reach, Role, Scope
from inference.access.quotas import Quotas
from inference.errors import QuotaExceeded, StoreUnavailable, TooLarge
from inference.registry import uploads
from inference.registry.register import register
from inference.settings import AccessSettings
from tests.fakes_access import FakeUsage
from tests.unit.registry.registry_fakes import make_ports


@pytest.fixture
def usage():
    return FakeUsage()


@pytest.fixture
def ports(usage):
    return dataclasses.replace(make_ports(upload_limit_bytes=1000), quotas=Quotas(usage, AccessSettings()))


def holder(limit):
    return Principal(
        name="k",
        role=Role.OPERATOR,
        scope=Scope("t"),
        reach=Reach.TENANT,
        key_id="k",
        limits=Limits(bytes_stored=limit),
    )


def send(ports, content, by):
    return uploads.receive(ports, tenant_id="t", stream=[content], by=by)


def test_uploads_are_taken_up_to_the_quota_and_no_further(ports, usage):
    usage.bytes, by = 40, holder(100)

    send(ports, b"1" * 50, by)
    with pytest.raises(QuotaExceeded) as refusal:
        send(ports, b"2" * 11, by)
    send(ports, b"3" * 10, by)

    assert (refusal.value.details["limit"], refusal.value.details["used"]) == (100, 90)
    assert sorted(len(content) for content in ports.blobs.contents.values()) == [10, 50]


def test_uploads_at_the_same_time_do_not_share_what_is_left_of_the_quota(ports):
    by, at_once, refused = holder(100), threading.Barrier(8), []

    def slowly(number):
        yield b"%d" % number * 30
        at_once.wait(5)  # all have been told that there is room
        yield b"%d" % number * 30

    def upload(number):
        try:
            uploads.receive(ports, tenant_id="t", stream=slowly(number), by=by)
        except QuotaExceeded as error:
            refused.append(error)

    threads = [threading.Thread(target=upload, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert (len(refused), len(ports.uploads.rows), len(ports.blobs.contents)) == (7, 1, 1)


def test_nothing_is_read_once_the_quota_is_used_up(ports, usage):
    usage.bytes = 100

    def never():
        raise AssertionError("read")
        yield b""

    with pytest.raises(QuotaExceeded):
        uploads.receive(ports, tenant_id="t", stream=never(), by=holder(100))


def test_an_upload_over_the_limit_of_one_file_is_too_large_whatever_the_quota(ports):
    with pytest.raises(TooLarge, match="upload is larger than the limit of 1000 bytes"):
        send(ports, b"1" * 1001, holder(10_000))


def test_what_was_not_stored_is_given_back(ports):
    by, insert = holder(100), ports.uploads.insert

    def away(*_, **__):
        raise StoreUnavailable("away")

    ports.uploads.insert = away
    with pytest.raises(StoreUnavailable):
        send(ports, b"1" * 100, by)
    ports.uploads.insert = insert

    send(ports, b"1" * 100, by)


def test_a_model_counts_like_an_upload_and_a_refused_one_leaves_nothing(ports, usage):
    by = holder(10)
    upload_id = send(ports, b"model.", None).id
    kept = dict(ports.blobs.contents)

    usage.bytes = 5
    model = {"name": "m", "version": "1.0.0", "framework": "double", "model_path": f"upload:{upload_id}"}

    with pytest.raises(QuotaExceeded):
        register(ports, tenant_id="t", by=by, **model)

    assert ports.models.rows == {}
    assert ports.blobs.contents == kept


def test_without_a_key_there_is_no_quota(ports, usage):
    usage.bytes = 10**12

    send(ports, b"1" * 500, ANYBODY)
    send(ports, b"2" * 500, None)

    assert usage.reads == 0
