"""Reads the OpenAPI document for operations that take somebody's id, and knows how to make each such call.

What an operation takes stands in the document; what makes a call valid besides stands in `CALLS`. An operation that
takes an id in a way that is written nowhere here makes `unknown` say so: then add it.
"""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from string import Template
from typing import Any

from inference.ids import new_id

BASE = "/api/v1/inference"
ALIAS = "/api/inference"
TASK = {"input_data": {"x": [[1, 2, 3, 4]]}}
LINE = b'{"input_data": {"x": [[1, 2, 3, 4]]}}\n'

NO_IDS = {"workspace_id", "customer_id"}
"""Names that a client chooses freely, and that name no row."""

FURTHER_IDS = {"other", "cursor", "after", "input_ref", "model_path", "actor"}
"""Fields that hold an id, though their name does not say so."""

FILTERS = {"cursor", "after", "object_id", "actor", "task_ids"}
"""Parameters and fields that only leave something out: what they name need not exist, and may be gone already."""

LOGS = f"GET {BASE}/services/{{service_id}}/logs"
FILTERED = {("GET /v1/deployments", "model_id")} | {(f"{LOGS}{more}", "task_id") for more in ("", "/export", "/tail")}
"""A parameter that is a filter in this operation: a model, or a task, may be gone."""


NO_FILTERS = {(f"POST {BASE}/tasks/compare", "task_ids")}
"""Where such a name is no filter: all that it names must be there."""

IN_CONFIG = {"fallback_service_id"}
"""Keys of a config: an id there that names nothing of the caller's makes a wrong config, and is told as such."""

INSTALLATION = (
    *("tenants", "audit", "audit/export", "audit/verify", "costs", "budgets", "budgets/{budget_id}"),
    *("gpus", "nodes", "nodes/{node_id}", "pool"),
    *("backups", "backups/{backup_id}", "backups/{backup_id}/content", "backups/{backup_id}/restore"),
    *("logs", "logs/export", "logs/analysis", "logs/tail"),
)
OF_THE_INSTALLATION = {"/metrics"} | {f"{BASE}/{name}" for name in INSTALLATION}
"""What a key of the system is answered for all tenants; everybody else for their own part of it."""

CHOSEN = {(f"POST {BASE}/tenants", "tenant_id")}
"""What the caller gives to a new thing is the id of none yet."""


@dataclass(frozen=True)
class Call:
    """One way to make a valid call; `$name` in a query or a body stands for an id."""

    query: Mapping[str, str] = field(default_factory=dict)
    body: Any = None
    raw: bytes = b""


EMPTY: dict[str, Any] = {}
CALLS: dict[str, list[Call]] = {
    f"POST {BASE}/services": [
        Call(body={"model_id": "$model_id"}),
        Call(body={"model_id": "$model_id", "config": {"fallback_service_id": "$service_id"}}),
        Call(body={"name": "by-upload", "framework": "onnx", "model_path": "upload:$model_upload_id"}),
    ],
    f"GET {BASE}/services": [Call(query={"cursor": "$service_id"})],
    f"PATCH {BASE}/services/{{service_id}}": [
        Call(body={"config": {"max_batch": 16}}),
        Call(body={"model_id": "$newer_model_id"}),
        Call(body={"config": {"fallback_service_id": "$deployed_service_id"}}),
    ],
    f"POST {BASE}/services/{{service_id}}/scale": [Call(body={"replicas": 2})],
    f"POST {BASE}/services/{{service_id}}/tasks": [
        Call(body=TASK),
        Call(body={"input_ref": "upload:$input_upload_id"}),
    ],
    f"POST {BASE}/services/{{service_id}}/predict": [Call(query={"mode": "async"}, body=TASK)],
    f"POST {BASE}/services/{{service_id}}/tasks/batch": [
        Call(body={"input_data_list": [TASK["input_data"]]}),
        Call(raw=LINE),
        Call(raw=b'{"input_ref": "upload:$input_upload_id"}\n'),
    ],
    f"GET {BASE}/services/{{service_id}}/tasks": [Call(), Call(query={"cursor": "$task_id"})],
    f"GET {BASE}/services/{{service_id}}/results": [Call(), Call(query={"after": "$task_id"})],
    f"POST {BASE}/services/{{service_id}}/compare": [
        Call(body={"versions": ["1.0.0", "1.1.0"]}),
        Call(body={"ranges": [{"to": "2026-11-20"}, {"from": "2026-11-20"}]}),
    ],
    f"POST {BASE}/tasks/compare": [Call(body={"task_ids": ["$completed_task_id", "$task_id"]})],
    f"GET {BASE}/scaling/decisions": [
        Call(query={"service_id": "$service_id"}),
        Call(query={"cursor": "$service_id"}),
    ],
    f"GET {BASE}/tasks": [Call(query={"service_id": "$service_id"}), Call(query={"cursor": "$task_id"})],
    f"GET {BASE}/tasks/{{task_id}}": [Call(), Call(query={"wait": "0.1"})],
    f"PATCH {BASE}/tasks/{{task_id}}": [Call(body={"priority": 5})],
    f"POST {BASE}/services/{{service_id}}/tasks/cancel": [
        Call(body={"filter": {"status": "pending"}}),
        Call(body={"filter": {"task_ids": ["$task_id"]}}),
    ],
    "POST /v1/models/register": [
        Call(body={"name": "again", "version": "1.0.0", "framework": "onnx", "model_path": "upload:$model_upload_id"})
    ],
    "GET /v1/models": [Call(query={"cursor": "$model_id"})],
    "GET /v1/models/{model_id}/diff": [Call(query={"other": "$newer_model_id"})],
    "POST /v1/deployments": [
        Call(body={"model_id": "$model_id", "environment": "test"}),
        Call(body={"model_id": "$model_id", "environment": "b", "config": {"fallback_service_id": "$service_id"}}),
    ],
    "GET /v1/deployments": [Call(query={"model_id": "$model_id"}), Call(query={"cursor": "$deployment_id"})],
    f"POST {BASE}/keys": [
        Call(body={"name": "for one service", "role": "viewer", "service_id": "$service_id"}),
        Call(body={"name": "for the tenant", "role": "viewer", "tenant_id": "$tenant_id"}),
    ],
    f"GET {BASE}/keys": [Call(query={"cursor": "41da000000000000$key_id"})],
    f"PATCH {BASE}/keys/{{key_id}}": [Call(body={"name": "renamed"})],
    f"PATCH {BASE}/tenants/{{tenant_id}}": [Call(body={"name": "renamed"})],
    f"GET {BASE}/audit": [
        Call(query={"object_id": "$service_id"}),
        Call(query={"actor": "$key_id"}),
        Call(query={"tenant_id": "$tenant_id"}),
        Call(query={"cursor": "$audit_seq"}),
    ],
    f"GET {BASE}/audit/export": [Call(query={"tenant_id": "$tenant_id"})],
    f"GET {BASE}/tenants": [Call(query={"cursor": "$tenant_id"})],
    f"GET {BASE}/gpus": [Call(query={"node_id": "$node_id"}), Call(query={"cursor": "$node_id/x"})],
    f"GET {BASE}/nodes": [Call(query={"cursor": "$node_id"})],
    f"GET {BASE}/costs": [Call(query={"tenant_id": "$tenant_id"})],
    f"GET {BASE}/alerts": [Call(query={"service_id": "$service_id"}), Call(query={"cursor": "$service_id"})],
    f"GET {BASE}/reports": [Call(query={"cursor": "$report_id"})],
    f"GET {BASE}/services/{{service_id}}/reports": [Call(), Call(query={"cursor": "$report_id"})],
    f"POST {BASE}/services/{{service_id}}/reports": [Call(body=EMPTY)],
    f"POST {BASE}/services/{{service_id}}/report-schedules": [Call(body={"every": "day"})],
    f"POST {BASE}/alerts/rules": [
        Call(body={"name": "of one service", "metric": "latency", "threshold": 1, "service_id": "$service_id"}),
    ],
    f"PATCH {BASE}/alerts/rules/{{rule_id}}": [
        Call(body={"severity": "info"}),
        Call(body={"service_id": "$service_id"}),
    ],
    f"POST {BASE}/alerts/rules/{{rule_id}}/test": [Call(body=EMPTY)],
    f"POST {BASE}/alerts/silences": [
        Call(body={"for_s": 60, "service_id": "$service_id"}),
        Call(body={"for_s": 60, "rule_id": "$rule_id"}),
    ],
    **{f"{LOGS}{more}": [Call(query={"task_id": "$task_id"})] for more in ("/export", "/tail")},
    LOGS: [Call(query={"task_id": "$task_id"}), Call(query={"cursor": "$audit_seq"})],
    f"GET {BASE}/logs": [
        Call(query={"task_id": "$task_id"}),
        Call(query={"service_id": "$service_id"}),
        Call(query={"cursor": "$audit_seq"}),
    ],
    f"GET {BASE}/logs/export": [Call(query={"task_id": "$task_id", "service_id": "$service_id"})],
    f"GET {BASE}/logs/analysis": [Call(query={"service_id": "$service_id"})],
    f"GET {BASE}/logs/tail": [Call(query={"task_id": "$task_id"})],
    f"GET {BASE}/backups": [Call(query={"cursor": "$backup_id"})],
    f"POST {BASE}/backups": [Call(body=EMPTY), Call(body={"tenant_id": "$tenant_id"})],
    f"POST {BASE}/backups/{{backup_id}}/restore": [
        Call(query={"dry_run": "false"}, body=EMPTY),
        Call(query={"tenant_id": "$tenant_id"}, body=EMPTY),
    ],
    f"GET {BASE}/uploads": [Call(query={"cursor": "$upload_id"})],
    f"GET {BASE}/budgets": [Call(query={"tenant_id": "$tenant_id"})],
    f"PUT {BASE}/budgets": [
        Call(body={"service_id": "$service_id", "hard": 1e6}),
        Call(body={"tenant_id": "$tenant_id", "hard": 1e6}),
    ],
}
"""By method and path. An operation that takes ids in its path alone, and no body, needs no line here."""

_IN_PATH = re.compile(r"{(\w+_id)}")  # a model's name is looked up among the caller's own: tests of by_model
_MARK = re.compile(r"\$(\w+)")
_ORDER = {"GET": 0, "POST": 1, "PUT": 2, "PATCH": 2, "DELETE": 3}


@dataclass(frozen=True)
class Case:
    """A valid call with one of its ids, `name`, that may be somebody else's."""

    operation: str
    reach: str
    call: Call
    name: str

    @property
    def is_filter(self) -> bool:
        """The id comes in a parameter or field that only leaves something out."""
        asked = [where for where, value in _leaves(self.call) if f"${self.name}" in value]
        left_out = {each for each in asked if each in FILTERS or (self.operation, each) in FILTERED}
        return bool(left_out - {name for of, name in NO_FILTERS if of == self.operation})

    @property
    def is_setting(self) -> bool:
        """The id is what a config says."""
        return any(f"${self.name}" in value and where in IN_CONFIG for where, value in _leaves(self.call))

    @property
    def needed(self) -> set[str]:
        """Every id of the call."""
        return {*_IN_PATH.findall(self.operation), *_marks(self.call)}

    def request(self, ids: Mapping[str, str], *, prefix: str = BASE) -> dict[str, Any]:
        """Method, path, query and body with these ids."""
        method, path = self.operation.split(" ")
        filled = _IN_PATH.sub(lambda found: ids[found[1]], path).replace(BASE, prefix, 1)
        query = {name: Template(text).substitute(ids) for name, text in self.call.query.items()}
        asked: dict[str, Any] = {"method": method, "path": filled, "query": query}
        if self.call.raw:
            kind = {"Content-Type": "application/x-ndjson"}
            return asked | {"body": Template(self.call.raw.decode()).substitute(ids).encode(), "headers": kind}
        if self.call.body is not None:
            asked["body"] = json.loads(Template(json.dumps(self.call.body)).substitute(ids))
        return asked

    def __str__(self) -> str:
        return f"{self.operation} {dict(self.call.query) or ''}{self.call.body or self.call.raw or ''} ({self.name})"


def operations(document: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """(method and path, what the document says of it), destroying ones last."""
    found = [
        (f"{method.upper()} {path}", said)
        for path, methods in document["paths"].items()
        for method, said in methods.items()
        if method.upper() in _ORDER
    ]
    return iter(sorted(found, key=lambda one: _ORDER[one[0].split(" ")[0]]))


def ids_of(document: Mapping[str, Any], operation: str, said: Mapping[str, Any]) -> set[str]:
    """Every id that an operation takes, by the name of the parameter or field that holds it."""
    fields = {parameter["name"] for parameter in said.get("parameters", ()) if parameter["in"] == "query"}
    for media in said.get("requestBody", {}).get("content", {}).values():
        fields |= _fields(document, media["schema"])
    named = {name for name in fields if (name.endswith(("_id", "_ids")) or name in FURTHER_IDS) and name not in NO_IDS}
    chosen = {name for of, name in CHOSEN if of == operation}
    return named - chosen | set(_IN_PATH.findall(operation))


def _fields(document: Mapping[str, Any], schema: Mapping[str, Any]) -> set[str]:
    if "$ref" in schema:
        schema = document["components"]["schemas"][schema["$ref"].rpartition("/")[2]]
    found = set(schema.get("properties", ()))
    inner = [*schema.get("properties", {}).values(), *([schema["items"]] if "items" in schema else [])]
    for part in [*inner, *(one for kind in ("oneOf", "anyOf", "allOf") for one in schema.get(kind, ()))]:
        found |= _fields(document, part)
    return found


def cases(document: Mapping[str, Any]) -> list[Case]:
    """One for each operation, way to call it and id in that."""
    return [
        Case(operation, said.get("x-required-reach", ""), call, name)
        for operation, said in operations(document)
        if ids_of(document, operation, said)
        for call in CALLS.get(operation, [Call()])
        for name in sorted({*_IN_PATH.findall(operation), *_marks(call)})
    ]


def _marks(call: Call) -> set[str]:
    return set(_MARK.findall(f"{dict(call.query)} {json.dumps(call.body)} {call.raw.decode()}"))


def unknown(document: Mapping[str, Any]) -> list[str]:
    """What is missing in `CALLS`: operations whose ids, or whose body, nothing here fills."""
    lost = []
    for operation, said in operations(document):
        wanted = ids_of(document, operation, said) - set(_IN_PATH.findall(operation))
        filled = {name for call in CALLS.get(operation, ()) for name in _filled(call)}
        lost += [f"{operation}: nothing fills {name}" for name in sorted(wanted - filled)]
        if said.get("requestBody", {}).get("required") and _IN_PATH.search(operation) and operation not in CALLS:
            lost.append(f"{operation}: no body is known")
    there = {operation for operation, _ in operations(document)}
    return lost + [f"{operation}: not in the document" for operation in CALLS if operation not in there]


def _filled(call: Call) -> set[str]:
    """The fields in which a call has an id."""
    return {name for name, value in _leaves(call) if "$" in value}


def _leaves(call: Call) -> Iterator[tuple[str, str]]:
    """Each field that holds a text, however deep, and the text."""

    def walk(name: str, value: Any) -> Iterator[tuple[str, str]]:
        if isinstance(value, Mapping):
            for inner, of in value.items():
                yield from walk(inner, of)
        elif isinstance(value, list):
            for of in value:
                yield from walk(name, of)
        else:
            yield name, str(value)

    for part in (call.query, call.body, json.loads(call.raw or b"{}")):
        yield from walk("", part)


def unknown_id(name: str) -> str:
    """An id of the right form that nobody has."""
    return {"key_id": new_id()[-12:], "tenant_id": "nobody", "node_id": "no-host", "audit_seq": "999999"}.get(
        name, new_id()
    )
