"""The asynchronous process as a WSGI application, so that one table of cases goes through both doors."""

import asyncio

from werkzeug.datastructures import Headers

from api import context
from api.live.fast import Fast
from api.live.predict import Predicts
from api.live.submit import Submits
from inference.jobs.commit_loop import LoopCommit


class ThroughLive:
    """Hot POSTs are answered by `Fast`, as the front has it; all else by the Flask application.

    `asker`: who answers predictions.
    """

    def __init__(self, application, asker=None):
        self._application = application
        self._asker = asker

    def __call__(self, environ, start_response):
        if environ["REQUEST_METHOD"] != "POST":
            return self._application(environ, start_response)
        answered = asyncio.run(self._ask(environ))
        if answered is None:
            return self._application(environ, start_response)
        status, headers, text = answered
        start_response(f"{status} Said", headers)
        return [text]

    async def _ask(self, environ):
        core = self._application.extensions[context.EXTENSION]
        sent, is_handed_on = [], False

        async def inner(scope, receive, send):
            nonlocal is_handed_on
            is_handed_on = True

        text = environ["wsgi.input"].read() if self._is_hot(environ) else b""
        pieces = [text[i : i + 65_536] for i in range(0, len(text), 65_536)] or [b""]

        async def receive():
            piece = pieces.pop(0)
            return {"type": "http.request", "body": piece, "more_body": bool(pieces)}

        async def send(message):
            sent.append(message)

        fast = Fast(inner, core)
        commit = LoopCommit(core.jobs.store, core.jobs.bell, core.settings.jobs)
        submits = Submits(core, commit, fast)
        fast.add(submits.route())
        for route in Predicts(core, submits, self._asker, fast).routes():
            fast.add(route)
        try:
            await fast(_scope(environ), receive, send)
        finally:
            commit.close()
            fast.close()
        if is_handed_on:
            return None
        start, body = sent
        headers = [(name.decode(), value.decode()) for name, value in start["headers"]]
        return start["status"], headers, body["body"]

    @staticmethod
    def _is_hot(environ):
        return environ["PATH_INFO"].endswith(("/tasks", "/predict"))


def _scope(environ):
    names = {"CONTENT_TYPE": "content-type", "CONTENT_LENGTH": "content-length"}
    found = Headers()
    for name, value in environ.items():
        if name.startswith("HTTP_"):
            found[name[5:].replace("_", "-").lower()] = value
        elif name in names and value:
            found[names[name]] = value
    return {
        "type": "http",
        "method": "POST",
        "path": environ["PATH_INFO"].encode("latin-1").decode("utf-8", "replace"),
        "query_string": environ["QUERY_STRING"].encode(),
        "headers": [(name.lower().encode(), value.encode("latin-1")) for name, value in found.items()],
        "client": (environ.get("REMOTE_ADDR", "127.0.0.1"), 1),
    }
