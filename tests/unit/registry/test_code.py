"""Models that run code: refused, unless it is allowed."""

import pytest

from inference.errors import InvalidField, ModelRunsCode
from inference.registry import code, query
from inference.registry.register import register
from tests.unit.registry import artefacts
from tests.unit.registry.registry_fakes import PLUGINS, make_ports

TRAP = artefacts.trap("trap")


@pytest.fixture
def ports():
    return make_ports()


def put(ports, content, **changes):
    upload = ports.blobs.put_bytes(content)
    ports.uploads.insert("t", "0" * 32, upload)
    body = {"name": "m", "version": "1.0.0", "framework": "double", "model_path": f"upload:{'0' * 32}"}
    try:
        return register(ports, tenant_id="t", **{**body, **changes})
    finally:
        del ports.uploads.rows["0" * 32]


def test_an_artefact_that_runs_code_is_refused_before_anything_opens_it(ports):
    def never(path, **_):
        raise AssertionError("the artefact was opened")

    ports = make_ports(inspect=never)

    with pytest.raises(ModelRunsCode) as caught:
        put(ports, TRAP)

    assert caught.value.code == "model_runs_code"
    assert caught.value.details == {"format": "pickle"}
    for word in ("pickle", "calls any function", "ONNX or safetensors", "admin", "allow_code"):
        assert word in caught.value.message
    assert ports.models.rows == {}


def test_an_artefact_that_runs_code_is_kept_as_such_where_it_is_allowed(ports):
    model = put(ports, TRAP, allow_code=True)

    assert model.runs_code
    assert query.get(ports, tenant_id="t", model_id=model.id).runs_code


def test_leave_that_was_not_needed_leaves_no_trace(ports):
    assert not put(ports, b"harmless", allow_code=True).runs_code


def test_an_engine_that_says_it_runs_code_is_believed_whatever_the_artefact_looks_like(ports):
    with pytest.raises(ModelRunsCode, match="the engine 'runs-code' runs code out of it"):
        put(ports, b"harmless", framework="runs-code")

    assert put(ports, b"harmless", framework="runs-code", allow_code=True).runs_code


def test_leave_in_the_wrong_place_is_told_where_it_belongs(ports):
    with pytest.raises(InvalidField, match="a field of the registration itself") as caught:
        put(ports, TRAP, deployment_config={"allow_code": True})

    assert caught.value.details["field"] == "deployment_config.allow_code"


def test_what_runs_code_shows_in_a_comparison(ports):
    before = put(ports, b"harmless")
    after = put(ports, TRAP, version="1.1.0", allow_code=True)

    found = query.diff(ports, tenant_id="t", model_id=before.id, other_id=after.id)

    assert found["changes"]["runs_code"] == {"from": False, "to": True}


def test_onnx_runs_no_code(tmp_path):
    (tmp_path / "model").write_bytes(artefacts.onnx("com.example.mine"))

    assert code.reason(tmp_path / "model", framework="onnx", plugins=PLUGINS) is None
