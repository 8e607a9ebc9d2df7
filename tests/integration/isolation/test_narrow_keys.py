"""What a key of one workspace makes: services that it can have a key for, and keys that reach no further."""

from inference.access import keys, token
from inference.access.model import ANYBODY, Role, Scope
from tests.integration.isolation.two_tenants import BASE, World


def short_form(world: World, key: str) -> dict[str, str]:
    file = world.made(key, "POST", f"{BASE}/uploads", world.model_file.read_bytes())["upload_id"]
    wanted = {"name": "narrow", "model_path": f"upload:{file}", "framework": "onnx"}
    made: dict[str, str] = world.made(key, "POST", f"{BASE}/services", wanted)
    return made


def test_the_short_form_gives_a_workspaces_operator_a_key_of_its_service(world: World) -> None:
    scope = Scope("ashtree", "north")
    operator = keys.create(world.core.access, by=ANYBODY, name="short", role=Role.OPERATOR, scope=scope).text

    made = short_form(world, operator)

    shown = world.ask(made["api_key"], "GET", f"{BASE}/me").json
    assert (shown["role"], shown["service_id"]) == ("submitter", made["service_id"])
    listed = world.ask(made["api_key"], "GET", f"{BASE}/services").json["services"]
    assert [service["service_id"] for service in listed] == [made["service_id"]]


def test_the_key_for_figures_reads_all_figures_and_no_task(world: World) -> None:
    service = world.ids["ashtree"]["north"]["service_id"]
    own = short_form(world, world.system_key)["service_id"]
    text = token.make().text

    assert keys.metrics(world.core.access, text=text)

    assert service in world.ask(text, "GET", "/metrics").text
    assert world.ask(text, "GET", f"{BASE}/services/{own}").status_code == 404
    for kind in ("services", "tasks"):
        assert world.ask(text, "GET", f"{BASE}/{kind}").json[kind] == []
