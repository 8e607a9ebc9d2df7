"""A pickle that leaves a mark when it is loaded, through a whole running system."""

from pathlib import Path

import pytest

from tests.system import BASE, System, wait_for
from tests.unit.registry.artefacts import trap

pytestmark = [pytest.mark.e2e, pytest.mark.slow]


def body_of(path: Path, **more: object) -> dict[str, object]:
    return {
        "name": f"code-{path.parent.name}",
        "version": "1.0.0",
        "framework": "unpickle",
        "model_path": str(path),
    } | more


def test_a_pickle_is_refused_and_never_loaded(system: System, tmp_path: Path):
    mark, model = tmp_path / "mark", tmp_path / "model.onnx"
    model.write_bytes(trap(mark))

    refused = system.ask("POST", "/v1/models/register", body_of(model), expect=422)
    short = system.ask(
        "POST", f"{BASE}/services", {"name": "code", "framework": "unpickle", "model_path": str(model)}, expect=422
    )

    assert refused["code"] == short["code"] == "model_runs_code"
    assert "pickle" in refused["message"]
    assert not mark.exists()
    assert system.ask("GET", f"/v1/models?name={body_of(model)['name']}")["models"] == []


def test_a_pickle_that_is_allowed_twice_is_loaded_and_serves_until_the_leave_is_taken_away(
    system: System, tmp_path: Path
):
    mark, model = tmp_path / "mark", tmp_path / "model.pkl"
    model.write_bytes(trap(mark))

    registered = system.ask("POST", "/v1/models/register", body_of(model, allow_code=True), expect=201)["model_id"]
    was_tried = mark.is_dir()
    mark.rmdir()
    plain = system.ask("POST", f"{BASE}/services", {"model_id": registered, "config": {}}, expect=422)
    was_loaded_early = mark.exists()
    service = system.create(registered, allow_code=True)
    system.begin(service)
    system.until_ready(service)
    done = system.task(system.submit(service), wait_s=20)

    assert was_tried
    assert plain["code"] == "model_runs_code"
    assert not was_loaded_early
    assert mark.is_dir()
    assert done["result"] == {"y": [[2.0] * 4]}
    path = f"{BASE}/services/{service}"
    system.ask("POST", f"{path}/stop")
    wait_for(lambda: system.show(service)["status"] == "stopped", timeout_s=30, what="stopped")
    mark.rmdir()
    system.ask("PATCH", path, {"config": {"allow_code": None}})
    system.begin(service)
    shown = wait_for(lambda: (s := system.show(service))["status"] == "error" and s, timeout_s=60, what="state error")
    assert "pickle" in shown["reason"]
    assert "allow_code" in shown["reason"]
    assert not mark.exists()
