"""A small client of the public HTTP API: what the command line and the demo know of Penstock."""

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import httpx

from api.cli.failure import CallFailed
from api.cli.wire import body_of, refusal, whole

BASE = "/api/v1/inference"
LINES = "application/x-ndjson"

Json = dict[str, Any]


class Client(AbstractContextManager["Client"]):
    """One server, one connection pool; thread-safe. Every method raises CallFailed and nothing else."""

    def __init__(
        self,
        url: str,
        *,
        key: str | None = None,
        transport: httpx.BaseTransport | None = None,
        timeout_s: float = 75.0,
    ) -> None:
        self.url = url.rstrip("/")
        try:
            self._http = httpx.Client(
                base_url=self.url,
                headers={} if key is None else {"Authorization": f"Bearer {key}"},
                transport=transport,
                trust_env=not _is_loopback(self.url),
                # Asked for apart, because on loopback the rest of the environment does not count.
                verify=httpx.create_ssl_context() if self.url.startswith("https:") else True,
                timeout=httpx.Timeout(timeout_s, connect=5.0),
            )
        except (httpx.InvalidURL, ValueError) as error:
            raise CallFailed(f"'{url}' is not a URL: {error}.", code="bad_url") from error

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __enter__(self) -> Self:
        return self

    def close(self) -> None:
        self._http.close()

    # --- the system ---

    def ready(self) -> Json:
        return self._call("GET", "/readyz")

    def me(self) -> Json:
        return self._call("GET", f"{BASE}/me")

    def gpus(self, **filters: Any) -> Json:
        return self._call("GET", f"{BASE}/gpus", params=_given(filters))

    def nodes(self, **filters: Any) -> Json:
        return self._call("GET", f"{BASE}/nodes", params=_given(filters))

    def node(self, node_id: str) -> Json:
        return self._call("GET", f"{BASE}/nodes/{node_id}")

    def pool(self) -> Json:
        return self._call("GET", f"{BASE}/pool")

    def service_usage(self, service_id: str) -> Json:
        return self._call("GET", f"{BASE}/services/{service_id}/usage")

    # --- keys and tenants ---

    def create_key(self, body: Json) -> Json:
        return self._call("POST", f"{BASE}/keys", json=body)

    def keys(self, **filters: Any) -> Json:
        return self._call("GET", f"{BASE}/keys", params=_given(filters))

    def key(self, key_id: str) -> Json:
        return self._call("GET", f"{BASE}/keys/{key_id}")

    def rotate_key(self, key_id: str, body: Json) -> Json:
        return self._call("POST", f"{BASE}/keys/{key_id}/rotate", json=body)

    def revoke_key(self, key_id: str) -> Json:
        return self._call("POST", f"{BASE}/keys/{key_id}/revoke")

    def create_tenant(self, body: Json) -> Json:
        return self._call("POST", f"{BASE}/tenants", json=body)

    def tenants(self, **filters: Any) -> Json:
        return self._call("GET", f"{BASE}/tenants", params=_given(filters))

    def tenant(self, tenant_id: str) -> Json:
        return self._call("GET", f"{BASE}/tenants/{tenant_id}")

    def change_tenant(self, tenant_id: str, body: Json) -> Json:
        return self._call("PATCH", f"{BASE}/tenants/{tenant_id}", json=body)

    def delete_tenant(self, tenant_id: str) -> Json:
        return self._call("DELETE", f"{BASE}/tenants/{tenant_id}")

    # --- backups ---

    def create_backup(self, body: Json) -> Json:
        return self._call("POST", f"{BASE}/backups", json=body)

    def backups(self, **filters: Any) -> Json:
        return self._call("GET", f"{BASE}/backups", params=_given(filters))

    def backup_content(self, backup_id: str) -> bytes:
        return b"".join(self._stream("GET", f"{BASE}/backups/{backup_id}/content"))

    def restore_backup(self, backup_id: str, **asked: Any) -> Json:
        words = {name: str(value).lower() if isinstance(value, bool) else value for name, value in asked.items()}
        return self._call("POST", f"{BASE}/backups/{backup_id}/restore", params=_given(words))

    def delete_backup(self, backup_id: str) -> Json:
        return self._call("DELETE", f"{BASE}/backups/{backup_id}")

    # --- models ---

    def register_model(self, body: Json) -> Json:
        return self._call("POST", "/v1/models/register", json=body)

    def models(self, **filters: Any) -> Json:
        return self._call("GET", "/v1/models", params=_given(filters))

    def model(self, model_id: str) -> Json:
        return self._call("GET", f"/v1/models/{model_id}")

    def deprecate_model(self, model_id: str) -> Json:
        return self._call("POST", f"/v1/models/{model_id}/deprecate")

    def delete_model(self, model_id: str) -> Json:
        return self._call("DELETE", f"/v1/models/{model_id}")

    def upload(self, path: Path, **asked: Any) -> Json:
        """Streams a file, with its hash; `upload:<upload_id>` is then a `model_path` or an `input_ref`."""
        with path.open("rb") as stream:
            sha256 = hashlib.file_digest(stream, "sha256").hexdigest()
            stream.seek(0)
            headers = {"Content-Type": "application/octet-stream", "X-Content-SHA256": sha256}
            return self._call("POST", "/v1/uploads", content=stream, headers=headers, params=_given(asked))

    def uploads(self, upload_id: str = "", **filters: Any) -> Json:
        """One by its id, or a list."""
        return self._call("GET", f"{BASE}/uploads{upload_id and f'/{upload_id}'}", params=_given(filters))

    def upload_content(self, upload_id: str) -> Iterator[bytes]:
        return self._stream("GET", f"{BASE}/uploads/{upload_id}/content", in_lines=False)

    def delete_upload(self, upload_id: str) -> Json:
        return self._call("DELETE", f"{BASE}/uploads/{upload_id}")

    def result(self, task_id: str) -> Iterator[bytes]:
        """As it lies on the server, of any size."""
        return self._stream("GET", f"{BASE}/tasks/{task_id}/result", in_lines=False)

    # --- services ---

    def create_service(self, body: Json) -> Json:
        return self._call("POST", f"{BASE}/services", json=body)

    def services(self, **filters: Any) -> Json:
        return self._call("GET", f"{BASE}/services", params=_given(filters))

    def service(self, service_id: str) -> Json:
        return self._call("GET", f"{BASE}/services/{service_id}")

    def service_history(self, service_id: str) -> Json:
        return self._call("GET", f"{BASE}/services/{service_id}/history")

    def service_scaling(self, service_id: str) -> Json:
        return self._call("GET", f"{BASE}/services/{service_id}/scaling")

    def move_service(self, service_id: str, verb: str) -> Json:
        """`verb`: start, stop or restart."""
        return self._call("POST", f"{BASE}/services/{service_id}/{verb}")

    def scale_service(self, service_id: str, body: Json) -> Json:
        return self._call("POST", f"{BASE}/services/{service_id}/scale", json=body)

    def update_service(self, service_id: str, body: Json) -> Json:
        return self._call("PATCH", f"{BASE}/services/{service_id}", json=body)

    def delete_service(self, service_id: str) -> Json:
        return self._call("DELETE", f"{BASE}/services/{service_id}")

    # --- jobs ---

    def submit(self, service_id: str, body: Json, *, idempotency_key: str | None = None) -> Json:
        return self._call(
            "POST", f"{BASE}/services/{service_id}/tasks", json=body, headers=_key_header(idempotency_key)
        )

    def submit_batch(self, service_id: str, body: Json) -> Json:
        return self._call("POST", f"{BASE}/services/{service_id}/tasks/batch", json=body)

    def submit_lines(self, service_id: str, lines: Iterable[bytes], *, priority: int | None = None) -> Json:
        """Streams JSON Lines, any number of them, one job a line."""
        return self._call("POST", **_lines(service_id, lines, priority))

    def submit_lines_for_ids(
        self, service_id: str, lines: Iterable[bytes], *, priority: int | None = None
    ) -> Iterator[bytes]:
        """The same; the ids come back as JSON Lines, and behind them how many there are, or the error."""
        asked = _lines(service_id, lines, priority)
        asked["headers"]["Accept"] = LINES
        return self._stream("POST", **asked)

    def results(self, service_id: str, **filters: Any) -> Iterator[bytes]:
        """Jobs that are over, with their results, as JSON Lines of any number."""
        return self._stream("GET", f"{BASE}/services/{service_id}/results", params=_given(filters))

    def export(self, service_id: str, **filters: Any) -> Iterator[bytes]:
        """The same as a file; `format`: csv, json or jsonl."""
        return self._stream("GET", f"{BASE}/services/{service_id}/results/export", params=_given(filters))

    def compare_jobs(self, body: Json) -> Json:
        return self._call("POST", f"{BASE}/tasks/compare", json=body)

    def compare_in_service(self, service_id: str, body: Json) -> Json:
        return self._call("POST", f"{BASE}/services/{service_id}/compare", json=body)

    def job(self, job_id: str, *, wait_s: float | None = None) -> Json:
        """With `wait_s` the answer comes when the job is over, or when that time is."""
        return self._call("GET", f"{BASE}/tasks/{job_id}", params=_given({"wait": wait_s}))

    def cancel_job(self, job_id: str) -> Json:
        return self._call("POST", f"{BASE}/tasks/{job_id}/cancel")

    def rerun_job(self, job_id: str, verb: str) -> Json:
        """`verb`: retry or requeue."""
        return self._call("POST", f"{BASE}/tasks/{job_id}/{verb}")

    def prioritise_job(self, job_id: str, priority: int) -> Json:
        return self._call("PATCH", f"{BASE}/tasks/{job_id}", json={"priority": priority})

    def attempts(self, job_id: str) -> Json:
        return self._call("GET", f"{BASE}/tasks/{job_id}/attempts")

    def cancel_jobs(self, service_id: str, body: Json) -> Json:
        return self._call("POST", f"{BASE}/services/{service_id}/tasks/cancel", json=body)

    def jobs(self, **filters: Any) -> Json:
        return self._call("GET", f"{BASE}/tasks", params=_given(filters))

    # --- costs ---

    def costs(self, **filters: Any) -> Json:
        return self._call("GET", f"{BASE}/costs", params=_given(filters))

    def costs_table(self, **filters: Any) -> Iterator[bytes]:
        """The same as CSV."""
        return self._stream("GET", f"{BASE}/costs", params={**_given(filters), "format": "csv"})

    def prices(self) -> Json:
        return self._call("GET", f"{BASE}/prices")

    def set_prices(self, body: Json) -> Json:
        return self._call("PUT", f"{BASE}/prices", json=body)

    def alerts(self, method: str, path: str = "", *, body: Json | None = None, **filters: Any) -> Json:
        """Any call below /alerts."""
        return self._call(method, f"{BASE}/alerts{path}", json=body, params=_given(filters))

    def reports(self, method: str, path: str, *, body: Json | None = None, **filters: Any) -> Json:
        """Any call on reports and their schedules but for their contents."""
        return self._call(method, f"{BASE}{path}", json=body, params=_given(filters))

    def report_content(self, report_id: str) -> Iterator[bytes]:
        """The file of a completed one, as it comes."""
        return self._stream("GET", f"{BASE}/reports/{report_id}/content")

    def budgets(self, **filters: Any) -> Json:
        return self._call("GET", f"{BASE}/budgets", params=_given(filters))

    def set_budget(self, body: Json) -> Json:
        return self._call("PUT", f"{BASE}/budgets", json=body)

    def delete_budget(self, budget_id: str) -> Json:
        return self._call("DELETE", f"{BASE}/budgets/{budget_id}")

    # --- logs ---

    def logs(self, service_id: str | None, **filters: Any) -> Json:
        """Of a service; of the whole system without one."""
        return self._call("GET", f"{_logs_of(service_id)}", params=_given(filters))

    def analyse_logs(self, service_id: str | None, **filters: Any) -> Json:
        return self._call("GET", f"{_logs_of(service_id)}/analysis", params=_given(filters))

    def export_logs(self, service_id: str | None, **filters: Any) -> Iterator[bytes]:
        return self._stream("GET", f"{_logs_of(service_id)}/export", params=_given(filters))

    def tail_logs(self, service_id: str | None, **filters: Any) -> Iterator[bytes]:
        """The events as they come, in pieces of whole lines."""
        return self._stream("GET", f"{_logs_of(service_id)}/tail", params=_given(filters))

    # --- the audit record ---

    def audit(self, **filters: Any) -> Json:
        return self._call("GET", f"{BASE}/audit", params=_given(filters))

    def verify_audit(self) -> Json:
        return self._call("GET", f"{BASE}/audit/verify", timeout=None)

    def export_audit(self, **filters: Any) -> Iterator[bytes]:
        """The export as it comes, of any length."""
        return self._stream("GET", f"{BASE}/audit/export", params=_given(filters))

    # --- the wire ---

    def _call(self, method: str, path: str, **options: Any) -> Json:
        with self._failures():
            response = self._http.request(method, path, **options)
        if response.status_code >= 400:
            raise refusal(response, self.url)
        return body_of(response, self.url)

    def _stream(self, method: str, path: str, *, in_lines: bool = True, **options: Any) -> Iterator[bytes]:
        """The body as it comes; `in_lines`: in pieces that end with a line, but for the last."""
        with self._failures(), self._http.stream(method, path, **options) as response:
            if response.status_code >= 400:
                response.read()
                raise refusal(response, self.url)
            if not in_lines:
                yield from response.iter_bytes()
                return
            rest = b""
            for piece in response.iter_bytes():
                whole, end, rest = (rest + piece).rpartition(b"\n")
                if end:
                    yield whole + end
            if rest:
                yield rest

    @contextmanager
    def _failures(self) -> Iterator[None]:
        """What the connection says becomes CallFailed."""
        try:
            yield
        except httpx.ConnectError as error:
            if "CERTIFICATE_VERIFY_FAILED" in str(error):
                raise CallFailed(
                    f"The certificate of {self.url} is not trusted: SSL_CERT_FILE may name the file of who signed it, "
                    "and the URL must have a name that stands in it.",
                    code="not_trusted",
                ) from error
            raise CallFailed(
                f"No Penstock answers at {self.url}; start one with ./penstock up, or name another with --url.",
                code="no_answer",
            ) from error
        except httpx.TimeoutException as error:
            raise CallFailed(f"Penstock at {self.url} did not answer in time.", code="timed_out") from error
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise CallFailed(f"The call to {self.url} failed: {error}.", code="call_failed") from error
        except ValueError as error:  # `nan` for a number, a key that is no ASCII
            raise CallFailed(f"The call cannot be written: {error}.", code="call_failed") from error


def _lines(service_id: str, lines: Iterable[bytes], priority: int | None) -> dict[str, Any]:
    """The request that sends them."""
    return {
        "path": f"{BASE}/services/{service_id}/tasks/batch",
        "content": whole(lines),
        "params": _given({"priority": priority}),
        "headers": {"Content-Type": LINES},
    }


def _logs_of(service_id: str | None) -> str:
    return f"{BASE}/logs" if service_id is None else f"{BASE}/services/{service_id}/logs"


def _given(values: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None}


def _key_header(key: str | None) -> dict[str, str]:
    return {} if key is None else {"Idempotency-Key": key}


def _is_loopback(url: str) -> bool:
    """A proxy from the environment must not stand between us and our own machine."""
    return any(f"//{host}" in url for host in ("127.", "localhost", "[::1]"))
