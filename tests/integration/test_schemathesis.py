"""The OpenAPI document against the API: every operation, with what the document allows and with what it does not."""

import json
import tempfile
from pathlib import Path

import jsonschema_rs
import pytest
import schemathesis
from schemathesis.checks import CHECKS, load_all_checks

from api.app import create_app
from api.blueprint import FORMS
from api.schemas.inputs import INPUT_DATA
from api.schemas.models import MODEL_NAME, MODEL_PATH
from api.v1.tasks import KEY_HEADER
from inference.clock import ISO_FORM
from inference.ids import FORM
from tests import fakes
from tests.integration.api_world import World

# Its operations share one name: side by side, by file, all but one of them would be left out.
pytestmark = pytest.mark.alone

load_all_checks()
CHECKED = CHECKS.get_by_names(
    [
        "ignored_auth",
        "negative_data_rejection",
        "not_a_server_error",
        "status_code_conformance",
        "content_type_conformance",
        "response_schema_conformance",
        "response_headers_conformance",
    ]
)
EXAMPLES = 15
KEY, KEY_FORM, _ = KEY_HEADER
AN_INPUT = {"x": [[1, 2, 3, 4]]}


@pytest.fixture(scope="module")
def world(shared_valkey):
    with tempfile.TemporaryDirectory(prefix="penstock-world-", ignore_cleanup_errors=True) as name:
        made = World(Path(name), shared_valkey.url)
        RUNNING.append(made.app)
        yield made
        RUNNING.clear()
        made.close()


RUNNING = []


def relay(environ, start_response):
    """The application, known to schemathesis before it runs."""
    return RUNNING[0](environ, start_response)


def document():
    """Known before any server is up, so that each operation is a test of its own."""
    config = schemathesis.Config()
    project = config.projects.default
    project.generation.update(deterministic=True, max_examples=EXAMPLES)
    project.phases.update(phases=["examples", "coverage", "fuzzing"])
    refused = project.checks.negative_data_rejection
    refused.expected_statuses = [*refused.expected_statuses, "413"]
    broken = project.checks.not_a_server_error
    broken.expected_statuses = [*broken.expected_statuses, "504"]  # nobody works here: no prediction comes in time
    text = create_app(fakes.make_core()).test_client().get("/openapi.json").json
    read = schemathesis.openapi.from_dict(text, config=config)
    read.app = relay
    return read


@schemathesis.serializer("application/x-ndjson")
def as_one_line(_, value):
    return json.dumps(value).encode() + b"\n"


operations = document()


@operations.parametrize()
def test_the_api_does_what_its_document_says(case, world):
    if case.path == "/readyz":
        world.let_parts_report()
    settle(case, world)

    answer = case.call_and_validate(checks=CHECKED, headers=world.headers)

    if case.method != "GET" and answer.status_code < 400:
        world.heal()


def settle(case, world):
    """Puts in what only this system knows, where the form is right: ids, a file, tensors that the model takes.

    Otherwise every call would be refused for those, whatever else is wrong with it.
    """
    is_negative = case.meta is not None and case.meta.generation.mode.is_negative
    for name, value in dict(case.path_parameters or {}).items():
        if isinstance(value, str) and fits(FORMS.get(name, FORM), value):
            case.path_parameters[name] = world.next_task() if name == "task_id" else world.ids[name]
    for part in (case.query, case.body):
        if isinstance(part, dict):
            settle_ids(part, world, in_own_tenant=not case.path.endswith("/tenants"))
    if fits(KEY_FORM, (case.headers or {}).get(KEY)):
        case.headers[KEY] = world.next_name()
    if isinstance(case.body, dict):
        settle_inputs(case.body, world)
        settle_model(case.body, world, is_negative or world.may_register())


def settle_ids(part, world, *, in_own_tenant):
    for name in ("model_id", "service_id", "rule_id", "other"):
        if fits(FORM, part.get(name)):
            part[name] = world.ids["model_id" if name == "other" else name]
    if fits(FORMS["tenant_id"], part.get("tenant_id")):
        part["tenant_id"] = "default" if in_own_tenant else world.next_name()
    for name in ("from", "to", "deadline", "expires_at"):
        if fits(ISO_FORM, part.get(name)):
            part[name] = "2099-01-01T12:00:00Z"


def settle_inputs(body, world):
    if fits(INPUT_DATA, body.get("input_data")):
        body["input_data"] = AN_INPUT
    if isinstance(listed := body.get("input_data_list"), list):
        body["input_data_list"] = [AN_INPUT if fits(INPUT_DATA, one) else one for one in listed]
    if fits(f"upload:{FORM}|https?://.*|s3://.*", body.get("input_ref")):
        body["input_ref"] = f"upload:{world.ids['upload_id']}"


def settle_model(body, world, with_file):
    """Each model that is registered takes a process for its trial: without need, the file stays away."""
    if fits("[^\u0000]+", body.get("framework")):
        body["framework"] = "onnx"
    if fits(MODEL_NAME, body.get("name")):
        body["name"] = world.next_name()
    if with_file and fits(MODEL_PATH, body.get("model_path")):
        body["model_path"] = str(world.model_file)


def fits(form, value):
    """`form`: the pattern of a whole text, or a JSON Schema (without a type, that of texts)."""
    schema = {"pattern": f"^({form})$"} if isinstance(form, str) else form
    return jsonschema_rs.is_valid({"type": "string", **schema}, value)
