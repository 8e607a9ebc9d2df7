"""Lines read together are the tasks that they would be if each were sent alone, in their order."""

import base64
import io
import json

import numpy as np
import pytest

from api import context, lines
from inference.access.model import ANYBODY
from inference.errors import DuplicateKey, InvalidField, InvalidTensor, TooLarge, UnknownField
from inference.settings import Settings
from tests import fakes

X = {"x": [[1.0, 2.0]]}
CODED = {
    "x": {
        "b64": base64.b64encode(np.array([[1, 2]], np.float32).tobytes()).decode(),
        "dtype": "float32",
        "shape": [1, 2],
    }
}
GOOD = [
    {"input_data": X},
    {"input_data": {"x": [1, 2]}},
    {"input_data": CODED},
    {"input_data": {"x": {"data": [1, 2], "dtype": "float32", "shape": [1, 2]}}},
    {"priority": 7, "input_data": X},
    {"input_data": X, "metadata": {"id": "a:b", "is_new": True, "parts": [{"n": 1}]}},
    {"input_data": X, "timeout_s": 5, "priority": 0},
    {"input_data": X, "deadline": "2099-01-01T00:00:00Z"},
    {"input_data": X, "callback_url": None},
]
BAD = [
    (b'{"input_data": {"x": [[1, 2]], "x": [[1, 2]]}}', DuplicateKey),
    (b'{"input_data": {"x": [[1, 2]]}, "metadata": {"a": 1, "a": 2}}', DuplicateKey),
    (b'{"priority": 1, "input_data": {"x": [[1, 2]]}, "priority": 2}', DuplicateKey),
    (b'{"input_data": {"x": [[1, 2]]}, "priority": 10}', InvalidField),
    (b'{"input_data": {"x": [[1, 2]]}, "deadline": "2001-01-01T00:00:00Z"}', InvalidField),
    (b'{"input_data": {"x": [[1, 2]]}, "callback_events": ["finished"]}', InvalidField),
    (b'{"input_data": {"x": [[1, 2]]}, "colour": 1}', UnknownField),
    (b'{"input_data": {"x": [[true, 2]]}}', InvalidTensor),
    (b'{"input_data": {"x": [[1, 2, 3]]}}', InvalidTensor),
    (b'{"input_data": {"x": [[1, 2]%s]}}' % (b" " * 140_000), TooLarge),
]


@pytest.fixture
def reader(core):
    return lines.LineReader(core, ANYBODY, fakes.add_model(core), priority=3)


def alone(core, text):
    """By a reader that knows no form, so that each line is read by itself."""
    reader = lines.LineReader(
        core, ANYBODY, fakes.add_model(core, name=f"m{len(core.registry.models.rows)}"), priority=3
    )
    reader._forms.clear()
    return reader.read([text], before=0)


def test_tasks_read_together_are_those_that_were_sent(core, reader):
    texts = [json.dumps(body).encode() + b"\n" for body in GOOD * 3]

    found, bad = reader.read(texts, before=0)

    assert bad is None
    assert [(parsed, dict(options)) for parsed, options in found] == [
        (parsed, dict(options)) for text in texts for parsed, options in alone(core, text)[0]
    ]


@pytest.mark.parametrize(("text", "kind"), BAD)
def test_the_first_bad_line_is_told_as_if_it_were_alone(core, reader, text, kind):
    good = json.dumps(GOOD[0]).encode() + b"\n"

    found, bad = reader.read([good, b"\n", good, text + b"\n", b"{oops\n", good], before=10)

    number, error = bad
    assert (len(found), number, type(error)) == (2, 14, kind)
    assert error.message == alone(core, text + b"\n")[1][1].message


def test_handfuls_keep_every_line_and_end_at_one_that_is_too_long():
    text = b"a\n\nbb\n" + b"c" * 30 + b"\nd"

    found = [line for chunk in lines.handfuls(io.BytesIO(text), 20) for line in chunk]

    assert found == [b"a\n", b"\n", b"bb\n", b"c" * 20]


def test_ids_that_wait_in_a_file_are_answered_like_those_in_memory(client, monkeypatch, tmp_path):
    monkeypatch.setattr("api.v1.batches.KEPT_BYTES", 100)
    core = client.application.extensions[context.EXTENSION] = fakes.make_core(settings=Settings(data_dir=tmp_path))
    service = fakes.add_service(core)
    path = f"/api/v1/inference/services/{service.id}/tasks/batch"
    good = b'{"input_data": {"x": [1, 2]}}\n' * 20

    all_good = client.post(path, data=good, content_type=lines.KIND)
    with_bad = client.post(path, data=good + b"{}\n", content_type=lines.KIND)

    ids = list(core.jobs.store.rows)
    assert (all_good.status_code, all_good.json["task_ids"]) == (202, ids[:20])
    assert (with_bad.status_code, with_bad.json["details"]["task_ids"]) == (422, ids[20:])
    assert with_bad.json["details"]["line"] == 21
