"""Puts views, errors, documentation, timing and headers together in one Flask application."""

import time
from collections.abc import Callable, Iterable
from importlib import metadata
from typing import Any
from wsgiref.types import StartResponse, WSGIEnvironment

from flask import Flask
from flask_swagger_ui import get_swaggerui_blueprint

from api import context, errors, handlers, headers, origin
from api.figures import RequestFigures
from api.v1 import (
    alerts,
    audit,
    backups,
    batches,
    cache,
    compare,
    costs,
    deployments,
    health,
    internal,
    keys,
    logs,
    metrics,
    models,
    nodes,
    pool,
    predict,
    reports,
    results,
    scaling,
    service_metrics,
    services,
    task_changes,
    task_result,
    tasks,
    tenants,
    uploads,
    usage,
    webhooks,
)
from inference.core import Core
from inference.reports.style import policy

UNDER_BASE = (
    services.blueprint,
    scaling.blueprint,
    service_metrics.blueprint,
    cache.blueprint,
    logs.blueprint,
    tasks.blueprint,
    task_result.blueprint,
    predict.blueprint,
    task_changes.blueprint,
    batches.blueprint,
    results.blueprint,
    reports.blueprint,
    compare.blueprint,
    webhooks.blueprint,
    keys.blueprint,
    tenants.blueprint,
    audit.blueprint,
    backups.blueprint,
    usage.blueprint,
    costs.blueprint,
    alerts.blueprint,
    nodes.blueprint,
    pool.blueprint,
)
ABSOLUTE = (models.blueprint, predict.of_models, deployments.blueprint)
DOCS = "/docs"
OF_THE_SERVER = (health.blueprint, metrics.blueprint)
DESCRIPTION = (
    "Asynchronous inference: post a task, get 202 and an id, be sure that it runs, and read the answer.\n\n"
    f"Every path under `{context.BASE}` is also answered under `{context.ALIAS}`. Times are ISO 8601 UTC, durations "
    "are seconds. Every refusal is `{code, message, details}`; docs/errors.md lists the codes."
)

SECURITY = {
    "bearer": {"type": "http", "scheme": "bearer", "description": "`Authorization: Bearer KEY`; see docs/access.md"},
    "apiKey": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
}
"""How a key is shown. Until the first one is made, a system in development mode asks for none."""


def assemble(core: Core) -> Flask:
    """A Flask application whose views work on `core`."""
    app = Flask("penstock", static_folder=None)
    app.config.update(
        API_TITLE="Penstock",
        API_VERSION=metadata.version("penstock"),
        OPENAPI_VERSION="3.0.3",
        OPENAPI_URL_PREFIX="/",
        OPENAPI_JSON_PATH="openapi.json",
        API_SPEC_OPTIONS={"info": {"description": DESCRIPTION}, "components": {"securitySchemes": SECURITY}},
    )
    app.json.sort_keys = False  # type: ignore[attr-defined]  # of Flask's default provider
    app.url_map.merge_slashes = False
    app.extensions[context.EXTENSION] = core
    _register(app)
    _wrap(app, behind_front=core.settings.api.behind_front)
    if core.jobs.traces is not None:
        from api import traced

        app.wsgi_app = traced.wsgi(app.wsgi_app, core.jobs.traces)  # type: ignore[assignment,method-assign]
    return app


def _register(app: Flask) -> None:
    """Canonical paths go into the documentation; aliases are answered by the same handlers."""
    # The validator would be somebody else's server; the page is the same for each host, so that its hash is, too.
    swagger = {"app_name": "Penstock", "validatorUrl": None, "oauth2RedirectUrl": f"{DOCS}/oauth2-redirect.html"}
    app.register_blueprint(get_swaggerui_blueprint(DOCS, "/openapi.json", config=swagger))
    app.url_map.strict_slashes = False  # from here on: /docs must lead to /docs/, where its files are
    documented = handlers.Api(app)
    for blueprint in UNDER_BASE:
        documented.register_blueprint(blueprint, url_prefix=context.BASE)
        app.register_blueprint(blueprint, url_prefix=context.ALIAS, name=f"{blueprint.name}_alias")
    for blueprint in ABSOLUTE:
        documented.register_blueprint(blueprint, url_prefix="/v1")
    documented.register_blueprint(uploads.blueprint, url_prefix=context.BASE)
    for prefix in (context.ALIAS, "/v1"):
        app.register_blueprint(
            uploads.blueprint, url_prefix=prefix, name=f"uploads_{prefix.strip('/').replace('/', '_')}"
        )
    for blueprint in OF_THE_SERVER:
        documented.register_blueprint(blueprint)
    app.register_blueprint(internal.blueprint)


def _headers(app: Flask) -> Callable[[str], tuple[headers.Header, ...]]:
    """Which headers an answer of this route gets."""
    environ = {"REQUEST_METHOD": "GET", "PATH_INFO": f"{DOCS}/", "SERVER_NAME": "", "SERVER_PORT": "80"}
    # `app.test_request_context` would load Flask's and click's tools for tests, and a debugger with them.
    with app.request_context({**environ, "wsgi.url_scheme": "http"}):
        page = app.dispatch_request()
    of_page = headers.of_page(str(page))
    pages = {rule.rule: of_page for rule in app.url_map.iter_rules() if rule.rule.startswith(f"{DOCS}/")}
    of_report = headers.of_report(policy())
    pages |= {f"{base}{reports.CONTENT}": of_report for base in (context.BASE, context.ALIAS)}
    return lambda route: pages.get(route, headers.ANSWER)


def _wrap(app: Flask, *, behind_front: bool) -> None:
    """Times every request, adds headers, refuses other sites: around Flask, whose hooks cost several times as much."""
    figures = RequestFigures()
    app.extensions["figures"] = figures
    inner, headers_of = app.wsgi_app, _headers(app)

    def wrapped(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        began_s = time.perf_counter()
        route, status = "none", 500
        if behind_front and environ.get("HTTP_X_FORWARDED_PROTO") == "https":
            environ["wsgi.url_scheme"] = "https"

        def start(line: str, own: list[headers.Header], *rest: Any) -> Any:
            nonlocal route, status
            status = int(line[:3])
            if (rule := environ["werkzeug.request"].url_rule) is not None:  # Flask forgets it right after
                route = rule.rule
            own.extend(headers_of(route))
            return start_response(line, own, *rest)

        try:
            if (refusal := origin.refusal(environ["REQUEST_METHOD"], environ)) is not None:
                status = 403
                return _refuse(errors.answer(refusal), start_response)
            return inner(environ, start)
        finally:
            figures.note(route, status, time.perf_counter() - began_s)

    app.wsgi_app = wrapped  # type: ignore[method-assign]  # the way Flask itself documents


def _refuse(answer: errors.Answer, start_response: StartResponse) -> Iterable[bytes]:
    own = [("Content-Type", errors.JSON), ("Content-Length", str(len(answer.body))), *headers.ANSWER]
    start_response(f"{answer.status} Refused", own)
    return [answer.body]
