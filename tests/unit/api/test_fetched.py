"""Inputs by URL, through the door of the API: fetched once, and never on the thread of a loop."""

import io

import numpy as np
import pytest

from api import submission
from inference import waiting
from inference.access.model import ANYBODY
from inference.errors import InputUnreachable, WouldWait
from inference.tensors import unpack

BASE = "/api/v1/inference"
URL = "https://data.example.org/x.json"


class Web:
    def __init__(self, content=b'{"x": [[5, 6]]}'):
        self.content, self.asked = content, []

    def __call__(self, reference, *, is_open, limit_bytes):
        self.asked.append((reference, is_open))
        if self.content is None:
            raise InputUnreachable("The input could not be fetched: gone.", field="input_ref")
        return self.content


@pytest.fixture
def web(core):
    made = Web()
    object.__setattr__(core.registry, "fetch", made)
    return made


def post(client, service, reference=URL, **headers):
    return client.post(f"{BASE}/services/{service.id}/tasks", json={"input_ref": reference}, headers=headers)


@pytest.mark.parametrize("reference", [URL, "http://data.example.org/x", "s3://bucket/some/key"])
def test_an_input_is_fetched_when_its_task_is_submitted(client, core, service, web, reference):
    answer = post(client, service, reference)

    row = core.jobs.store.rows[answer.json["task_id"]]
    assert (answer.status_code, web.asked) == (202, [(reference, True)])
    assert unpack(row.payload)["x"].tolist() == [[5.0, 6.0]]


def test_a_known_key_has_its_answer_though_the_input_is_gone(client, service, web):
    first = post(client, service, **{"Idempotency-Key": "k"})
    web.content = None

    again, other = post(client, service, **{"Idempotency-Key": "k"}), post(client, service)

    assert (again.status_code, again.json) == (202, first.json)
    assert (other.status_code, other.json["code"]) == (422, "input_unreachable")


def test_two_models_that_look_at_one_input_fetch_it_once(core, web):
    content = submission.Content(core, ANYBODY)

    assert content.of(URL) == content.of(URL) == web.content
    assert len(web.asked) == 1


def test_nothing_is_fetched_on_the_thread_of_a_loop(core, web):
    waiting.forbid_here()
    try:
        with pytest.raises(WouldWait):
            submission.Content(core, ANYBODY).of(URL)
    finally:
        waiting.allow_again()

    assert web.asked == []


@pytest.mark.parametrize("reference", ["ftp://x/y", "file:///etc/passwd", "upload", "HTTP://x", "s3:/x"])
def test_other_references_are_refused(client, service, web, reference):
    answer = post(client, service, reference)

    assert (answer.status_code, answer.json["code"], web.asked) == (422, "invalid_field", [])


def npy(array):
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


def test_an_npy_is_the_tensor_of_a_model_that_takes_one(client, core, service, web):
    web.content = npy(np.asfortranarray([[1, 2], [3, 4]], dtype=">i4"))

    answer = post(client, service)

    row = core.jobs.store.rows[answer.json["task_id"]]
    assert (row.rows, unpack(row.payload)["x"].tolist()) == (2, [[1.0, 2.0], [3.0, 4.0]])


@pytest.mark.parametrize(
    "content",
    [
        npy(np.array([{}], dtype=object)),
        npy(np.zeros((1, 2)))[:-1],
        b"\x93NUMPY\x01\x00\x10\x27" + b"(" * 10_000,
        npy(np.zeros((1, 2))).replace(b"(1, 2)", b"(9999999999999, 2)"),
        b"\x93NUMPY",
    ],
)
def test_an_npy_that_cannot_be_read_is_refused(client, service, web, content):
    web.content = content

    answer = post(client, service)

    assert (answer.status_code, answer.json["code"]) == (422, "invalid_tensor")
