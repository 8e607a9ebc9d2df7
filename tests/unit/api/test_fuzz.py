"""Whatever comes in, the answer is one of ours: never a 500, and nothing stored unless 202."""

import json

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

BASE = "/api/v1/inference"
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=6), inner, max_size=4),
    max_leaves=12,
)
NUMBER = st.floats(width=32) | st.integers(-(2**70), 2**70) | st.booleans() | st.none() | st.text(max_size=2)
TENSOR = (
    st.lists(NUMBER, max_size=4)
    | st.lists(st.lists(NUMBER, max_size=3), max_size=3)
    | st.fixed_dictionaries({"data": st.lists(NUMBER, max_size=4), "dtype": st.sampled_from(["float32", "bool", "x"]),
                             "shape": st.lists(st.integers(-1, 3), max_size=3) | JSON})
    | st.fixed_dictionaries({"b64": st.text(max_size=8), "dtype": JSON, "shape": JSON})
    | JSON
)  # fmt: skip
BODY = st.fixed_dictionaries(
    {},
    optional={
        "input_data": st.dictionaries(st.sampled_from(["x", "y"]), TENSOR, max_size=2),
        "input_ref": JSON,
        "priority": JSON,
        "timeout_s": JSON,
        "deadline": JSON,
        "callback_url": JSON,
        "metadata": JSON,
        "other": JSON,
    },
)
FEW = settings(
    max_examples=150, deadline=None, database=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


def check(client, core, service, path, body, **options):
    core.jobs.store.rows.clear()

    response = client.post(f"{BASE}/services/{service.id}/{path}", data=body, **options)

    assert response.status_code in (202, 400, 404, 413, 422), response.data
    if response.status_code != 202:
        assert set(response.json) == {"code", "message", "details"}
        assert core.jobs.store.rows == {}


@FEW
@given(body=st.binary(max_size=64))
def test_any_bytes_are_answered(client, core, service, body):
    check(client, core, service, "tasks", body)


@FEW
@given(body=BODY)
def test_any_submission_is_answered(client, core, service, body):
    check(client, core, service, "tasks", json.dumps(body))


@FEW
@given(inputs=st.lists(st.dictionaries(st.just("x"), TENSOR, max_size=1), max_size=3), extra=BODY)
def test_any_batch_is_answered(client, core, service, inputs, extra):
    extra.pop("input_data", None)
    extra.pop("input_ref", None)
    check(client, core, service, "tasks/batch", json.dumps({"input_data_list": inputs, **extra}))


@FEW
@given(body=BODY)
def test_any_line_is_answered(client, core, service, body):
    check(client, core, service, "tasks/batch", json.dumps(body), content_type="application/x-ndjson")


@FEW
@given(body=JSON, path=st.sampled_from(["services", "services/x/scale", "tasks/x/cancel"]))
def test_any_control_call_is_answered(client, body, path):
    response = client.post(f"{BASE}/{path}", data=json.dumps(body))

    assert response.status_code in (400, 404, 422), response.data
