"""What is around the product: probes, metrics, documentation, and errors in one form."""

import dataclasses
import json
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace

import openapi_spec_validator
import pytest

from api import access_page, error_page
from api import errors as on_the_wire
from api.app import create_app
from inference import errors
from inference.errors import HotUnavailable
from inference.serving.model import Observed
from tests import fakes

BASE = "/api/v1/inference"


def test_a_process_that_answers_is_healthy(client):
    assert client.get("/healthz").json == {"status": "ok"}


def test_all_parts_well_is_ready(client):
    response = client.get("/readyz")

    assert response.status_code == 200
    assert response.json["parts"] == {"store": "ok", "broker": "ok", "control": "ok", "node": "ok"}


def ill_store(core):
    def ping():
        raise errors.StoreUnavailable("The database is away.")

    return {"ping_store": ping}


def ill_broker(core):
    def ping():
        raise ConnectionRefusedError("nobody listens")

    return {"ping_redis": ping}


def silent_control(core):
    core.serving.ticks.age = 11.0
    return {}


def new_control(core):
    core.serving.ticks.age = None
    return {}


def no_node(core):
    core.serving.nodes.rows = []
    return {}


@pytest.mark.parametrize(
    ("hurt", "part", "says"),
    [
        (ill_store, "store", "The database is away"),
        (ill_broker, "broker", "nobody listens"),
        (silent_control, "control", "11 s ago"),
        (new_control, "control", "never"),
        (no_node, "node", "No node"),
    ],
)
def test_an_ill_part_is_named_with_its_reason(application, client, core, hurt, part, says):
    application.extensions["penstock"] = dataclasses.replace(core, **hurt(core))

    response = client.get("/readyz")

    assert (response.status_code, response.json["code"]) == (503, "unavailable")
    assert says in response.json["details"]["parts"][part]
    assert says in response.json["message"]
    assert [name for name, why in response.json["details"]["parts"].items() if why != "ok"] == [part]
    assert response.headers["Retry-After"] == "1"


def test_readyz_says_since_when_a_part_is_ill_and_forgets_it_once_it_is_well(application, client, core):
    application.extensions["penstock"] = dataclasses.replace(core, **ill_store(core))
    first = client.get("/readyz").json["details"]["since"]
    second = client.get("/readyz").json["details"]["since"]
    application.extensions["penstock"] = core
    well = client.get("/readyz").status_code
    application.extensions["penstock"] = dataclasses.replace(core, **ill_store(core))
    later = client.get("/readyz").json["details"]["since"]

    assert list(first) == ["store"]
    assert second == first
    assert datetime.fromisoformat(first["store"]).tzinfo is UTC
    assert well == 200
    assert later["store"] > first["store"]


def test_a_control_worker_is_ill_since_it_was_last_heard(application, client, core):
    application.extensions["penstock"] = dataclasses.replace(core, **silent_control(core))

    since = datetime.fromisoformat(client.get("/readyz").json["details"]["since"]["control"])

    assert 10 < (datetime.now(UTC) - since).total_seconds() < 60


def test_metrics_count_what_the_store_knows(client, core, service):
    client.post(f"{BASE}/services/{service.id}/tasks", json={"input_data": {"x": [1, 2]}, "priority": 5})

    client.application.extensions["figures"].book()
    response = client.get("/metrics")

    assert response.mimetype == "text/plain"
    assert f'penstock_jobs{{service="{service.id}",state="pending"}} 1.0' in response.text
    assert f'penstock_queue_depth{{priority="5",service="{service.id}"}} 1.0' in response.text
    route = f"{BASE}/services/<service_id>/tasks"
    assert f'penstock_http_requests_total{{route="{route}",status="202"}}' in response.text


class Lane:
    """An express lane in which three predictions wait for each service; or Redis is away."""

    is_away = False

    def waiting_in(self, service_ids):
        if self.is_away:
            raise HotUnavailable("away", part="redis")
        return dict.fromkeys(service_ids, 3)


def test_metrics_count_predictions_that_wait_for_services_that_have_replicas(application, client, core, service):
    lane, replica = Lane(), SimpleNamespace(service_id=service.id, observed=Observed.READY)
    replicas = SimpleNamespace(all=lambda: [replica])
    application.extensions["penstock"] = dataclasses.replace(
        core,
        jobs=dataclasses.replace(core.jobs, express=lane),
        serving=dataclasses.replace(core.serving, replicas=replicas),
    )

    seen = client.get("/metrics").text
    lane.is_away = True
    without_redis = client.get("/metrics")

    assert f'penstock_express_waiting{{service="{service.id}"}} 3.0' in seen
    assert without_redis.status_code == 200
    assert "penstock_express_waiting{" not in without_redis.text


def test_the_document_is_valid_openapi_with_every_path(client):
    document = client.get("/openapi.json").json

    openapi_spec_validator.validate(document)
    assert document["info"]["title"] == "Penstock"
    paths = document["paths"]
    for path in ("/v1/models/register", "/v1/deployments", f"{BASE}/services/{{service_id}}/tasks", "/readyz"):
        assert path in paths
    assert not [path for path in paths if path.startswith("/api/inference")]


def test_the_document_offers_no_null_where_a_query_cannot_hold_one(client):
    document = client.get("/openapi.json").json

    operations = [one for path in document["paths"].values() for one in path.values() if isinstance(one, dict)]
    queries = [it for one in operations for it in one.get("parameters", ()) if it["in"] == "query"]

    assert len(queries) > 100
    assert not [it for it in queries if it["schema"].get("nullable") or it["schema"].get("default", 0) is None]


def test_every_operation_says_what_it_does_and_how_it_refuses(client):
    document = client.get("/openapi.json").json

    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            if method == "parameters":
                continue
            assert operation["summary"], (method, path)
            assert any(status.startswith("2") for status in operation["responses"]), (method, path)


def test_the_submission_is_documented_with_its_codes_and_an_example(client):
    operation = client.get("/openapi.json").json["paths"][f"{BASE}/services/{{service_id}}/tasks"]["post"]

    assert {"202", "400", "404", "409", "413", "422", "429", "503"} <= set(operation["responses"])
    assert operation["requestBody"]["content"]["application/json"]["example"]["input_data"]
    assert operation["requestBody"]["content"]["application/json"]["schema"]["allOf"][0]["$ref"]
    assert "Idempotency-Key" in {parameter["name"] for parameter in operation["parameters"] if "name" in parameter}


def test_swagger_ui_comes_from_our_own_files(client):
    page = client.get("/docs/")
    with client.get("/docs/swagger-ui-bundle.js") as script:
        status = script.status_code

    assert (page.status_code, status) == (200, 200)
    assert client.get("/docs").headers["Location"].endswith("/docs/")
    assert 'src="http' not in page.text
    assert "/openapi.json" in page.text


@pytest.mark.parametrize("kind", sorted(set(error_page.families()), key=lambda kind: kind.__name__))
def test_every_error_has_a_status_and_the_one_body(kind):
    answer = on_the_wire.answer(kind("It is so.", part="x"))

    assert answer.status in (400, 401, 403, 404, 409, 413, 415, 422, 429, 500, 503, 504, 507)
    assert json.loads(answer.body) == {"code": kind.code, "message": "It is so.", "details": {"part": "x"}}
    assert ("Retry-After" in answer.headers) == (answer.status in (429, 503))


@pytest.mark.parametrize(
    ("kind", "status"),
    [
        (errors.DuplicateKey, 400),
        (errors.InvalidTensor, 422),
        (errors.JobNotFound, 404),
        (errors.IdempotencyMismatch, 409),
        (errors.TooLarge, 413),
        (errors.BacklogFull, 429),
        (errors.StoreUnavailable, 503),
        (errors.NoRoom, 507),
        (errors.EngineFailed, 500),
        (errors.InstanceLost, 503),
        (errors.TimedOut, 504),
        (errors.NotInTime, 504),
    ],
)
def test_an_error_answers_with_the_status_of_its_branch(kind, status):
    assert on_the_wire.status_of(kind) == status


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/nothing", 404, "route_not_found"),
        ("GET", f"{BASE}/nothing/at/all", 404, "route_not_found"),
        ("PUT", "/healthz", 405, "method_not_allowed"),
        ("GET", "/v1/models/register/", 404, "model_not_found"),
    ],
)
def test_what_flask_refuses_has_the_same_body(client, method, path, status, code):
    response = client.open(path, method=method)

    assert (response.status_code, response.json["code"]) == (status, code)
    assert set(response.json) == {"code", "message", "details"}


def test_a_refused_method_lists_those_that_are_allowed(client):
    assert "GET" in client.put("/healthz").headers["Allow"]


def test_a_fault_of_ours_shows_an_id_and_no_traceback(application, client, core):
    def broken(*_, **__):
        raise ZeroDivisionError("secret detail")

    core.serving.services.list = broken

    response = client.get(f"{BASE}/services")

    assert (response.status_code, response.json["code"]) == (500, "internal_error")
    assert response.json["details"]["error_id"]
    assert "secret" not in response.text
    assert "Traceback" not in response.text


def test_an_application_can_be_made_twice():
    first, second = create_app(fakes.make_core()), create_app(fakes.make_core())

    assert first.test_client().get("/openapi.json").json == second.test_client().get("/openapi.json").json


def test_the_list_of_codes_is_up_to_date():
    page = Path(__file__).parents[3] / "docs" / "errors.md"

    assert page.read_text() == error_page.page(), "run: python -m api.error_page > docs/errors.md"


def test_the_page_on_access_names_every_call_with_the_role_it_needs(application):
    page = access_page.PAGE.read_text()

    made = access_page.with_table(page, access_page.table(application))

    assert page == made, "run: python -m api.access_page"
    assert "`POST /keys`" in made
