"""What a key of one workspace makes: services that it can have a key for, and keys that reach no further."""

from inference.access import keys
from inference.access.model import ANYBODY, Role, Scope
from tests.integration.isolation.two_tenants import BASE, World


def test_the_short_form_gives_a_workspaces_operator_a_key_of_its_service(world: World) -> None:
    scope = Scope("ashtree", "north")
    operator = keys.create(world.core.access, by=ANYBODY, name="short", role=Role.OPERATOR, scope=scope).text
    file = world.made(operator, "POST", f"{BASE}/uploads", world.model_file.read_bytes())["upload_id"]
    wanted = {"name": "narrow", "model_path": f"upload:{file}", "framework": "onnx"}

    made = world.made(operator, "POST", f"{BASE}/services", wanted)

    shown = world.ask(made["api_key"], "GET", f"{BASE}/me").json
    assert (shown["role"], shown["service_id"]) == ("submitter", made["service_id"])
    listed = world.ask(made["api_key"], "GET", f"{BASE}/services").json["services"]
    assert [service["service_id"] for service in listed] == [made["service_id"]]
