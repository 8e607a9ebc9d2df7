"""The page docs/errors.md, made from the tree of errors: `python -m api.error_page > docs/errors.md`."""

import sys
from collections.abc import Iterator

from api.errors import OF_THE_SERVER, status_of
from inference import errors
from inference.errors import PenstockError

HEAD = """# Error codes

Every refusal has one body: `{"code", "message", "details"}`. `code` is for programs and never changes once released.
`message` is one sentence that says what to do. `details` are fields that belong to the code.
429 and 503 carry `Retry-After` (seconds). A task that failed shows the same kind of code under `error`.

This page is made from the code (`python -m api.error_page > docs/errors.md`); a test fails when it is out of date.
"""

MEANINGS = {
    "bad_request": "The request cannot be read.",
    "malformed_json": "The body is not valid JSON (NaN and Infinity are not JSON either).",
    "json_too_deep": "The JSON is nested more than 32 levels deep.",
    "duplicate_key": "An object names the same key twice. `details.key`.",
    "unsupported_media_type": "Send JSON, uncompressed, and say so: `Content-Type: application/json`. `details.got`.",
    "invalid": "The body can be read, and what it says cannot be.",
    "invalid_field": "A field is missing, of the wrong kind, or out of range. `details.field`.",
    "unknown_field": "There is no such field; look for a misspelling. `details.field`.",
    "invalid_tensor": "A tensor does not fit the model's signature. `details.tensor`, `expected`, `got`.",
    "model_invalid": "The model file does not load, or fails its one trial run.",
    "model_runs_code": "Loading this model would run code of its maker, which no admin allowed. `details.format`.",
    "model_path_refused": "`model_path` cannot be read by the API, or is outside the folders that it may name.",
    "callback_refused": "A webhook may not go to this `callback_url`; the message says why.",
    "input_refused": "An input may not be fetched from where this `input_ref` points; the message says why.",
    "input_unreachable": "What `input_ref` names could not be fetched: not there, not allowed, or not in time.",
    "digest_mismatch": "The body is not what its digest says: sent wrong, or damaged on the way. Nothing was kept.",
    "archive_invalid": "This is no archive of Penstock, or a damaged or newer one. `details.field`.",
    "data_refused": "The database cannot store this text (a NUL character, say).",
    "too_large": "Over a limit. `details.limit_bytes`; send large inputs and models as an upload.",
    "range_not_satisfiable": "The file ends before the `Range` that was asked for begins.",
    "unauthenticated": "No API key, or one that is unknown, revoked or expired. Send `Authorization: Bearer KEY`.",
    "denied": "The key may not do this.",
    "role_too_low": "The key's role does not allow this. `details.role`, `details.needed`.",
    "scope_too_narrow": "The key covers less than this call is about. `details.reach`, `details.needed`.",
    "host_refused": "Without keys the system answers to names of its own machine only: make a key, or use 127.0.0.1.",
    "cross_origin": "A page of another site may not make a browser change anything here. `details.origin`.",
    "not_found": "There is no such thing.",
    "job_not_found": "No task has this id, or it was deleted after its time.",
    "service_not_found": "No service has this id.",
    "model_not_found": "No model version has this id.",
    "deployment_not_found": "No deployment has this id.",
    "upload_not_found": "No upload has this id.",
    "result_missing": "The blob store that this host reads does not have the result. Do all hosts share one?",
    "key_not_found": "No API key has this id.",
    "node_not_found": "No node has this id; one that signed off is none any more.",
    "tenant_not_found": "No tenant has this id.",
    "budget_not_found": "No budget has this id.",
    "alert_rule_not_found": "No alert rule has this id.",
    "backup_not_found": "No backup has this id.",
    "silence_not_found": "No silence has this id, or it is over.",
    "report_not_found": "No report has this id, or it was deleted after its time.",
    "report_schedule_not_found": "No schedule of reports has this id.",
    "route_not_found": "There is nothing at this path.",
    "conflict": "It does not go with what is there.",
    "wrong_state": "Not in this state. `details.state`, `details.allowed`; the message says what to do first.",
    "version_exists": "This version of this model is registered already; choose another version.",
    "name_exists": "A service has this name already; choose another name.",
    "idempotency_mismatch": "This Idempotency-Key came with another body before; use a new key.",
    "already_running": "Another `penstock up` holds this data folder; only the launcher says this, never the API.",
    "in_use": "A service or deployment still names it, as its model or its fallback; change or delete that first.",
    "restore_refused": "Some objects of the backup cannot be restored, and nothing was. `details.refused`.",
    "too_many": "Too much at once; try again after `Retry-After`.",
    "backlog_full": "Too many wait already. `details.of` (key, tenant or service), `details.waiting`, `details.limit`.",
    "rate_limited": "More requests a second than the key or tenant may send. `details.of`, `details.limit_per_s`.",
    "quota_exceeded": "A quota is used up. `details.of`, `details.quota`, `details.limit`, `details.used`.",
    "budget_exhausted": "What may be spent in this period is spent; tasks above `details.low_priority` are taken.",
    "too_many_waiting": "Too many long polls, streams, uploads or calls are under way. `details.limit`.",
    "too_many_wrong_keys": "Too many wrong keys from this address in the last minute.",
    "unavailable": "A part is ill or starting. `details.part`; try again after `Retry-After`.",
    "store_unavailable": "The database is away, or its turn did not come in time.",
    "hot_unavailable": "Redis is away.",
    "not_in_time": "The answer of a prediction did not come in its time. `details.waited_s`, `details.was_started`.",
    "no_room": "The disk is full, or a GPU has no room for that many instances of a service.",
    "report_failed": "A report could not be made; the message says why. Under `error` of a report.",
    "pdf_unavailable": "PDF cannot be made here: a library or a font is not installed. Ask for `html`, or install it.",
    "method_not_allowed": "The path does not answer this method; the header `Allow` lists those it does.",
    "request_timeout": "The body did not come in time.",
    "headers_too_large": "The address or the headers are too long.",
    "internal_error": "A fault of ours; the log tells more under `details.error_id`.",
    "inference_error": "An attempt went wrong.",
    "timed_out": "The engine had the task for longer than its `timeout_s`, and was stopped.",
    "run_stopped": "The engine call was ended from outside; the task runs again and is not charged.",
    "engine_failed": "The engine refused this input; running it again would fail again.",
    "engine_load_failed": "The model could not be loaded by the worker.",
    "output_invalid": "The model gave something else than its signature says.",
    "out_of_memory": "The device had too little memory; the task is tried again.",
    "instance_lost": "The engine process died, overran the task's timeout, or fell silent; the task is tried again.",
    "deadline_passed": "The deadline came before the task could be started; it is `expired`.",
}
"""One sentence per code, those of the front included."""

NEVER_SENT = frozenset({"penstock_error", "bad_settings", "keys_needed"})


def page() -> str:
    """The whole page."""
    of_requests = {kind.code: status_of(kind) for kind in families() if not issubclass(kind, errors.InferenceError)}
    of_requests |= {code: status for status, (code, _) in OF_THE_SERVER.items() if code not in of_requests}
    of_requests["headers_too_large"] = 431
    of_tasks = {kind.code: kind.retryable for kind in families() if issubclass(kind, errors.InferenceError)}
    lines = [HEAD, "## Answers to requests\n", "| code | status | meaning |", "|---|---|---|"]
    for code, status in sorted(of_requests.items(), key=lambda pair: (pair[1], pair[0])):
        lines.append(f"| `{code}` | {status} | {MEANINGS[code]} |")
    lines += ["\n## Errors of tasks\n", "| code | tried again | meaning |", "|---|---|---|"]
    lines += [
        f"| `{code}` | {'yes' if is_retried else 'no'} | {MEANINGS[code]} |" for code, is_retried in of_tasks.items()
    ]
    return "\n".join(lines) + "\n"


def families(kind: type[PenstockError] = PenstockError) -> Iterator[type[PenstockError]]:
    """Every error that a client may meet, depth first."""
    if kind.code not in NEVER_SENT:
        yield kind
    for child in kind.__subclasses__():
        if child.__module__ == errors.__name__:
            yield from families(child)


if __name__ == "__main__":
    sys.stdout.write(page())
