"""flask-smorest's Blueprint, with our parser and with types."""

import functools
import re
from collections.abc import Callable, Mapping
from typing import Any, TypeVar, cast

import flask_smorest  # type: ignore[import-untyped]
from flask import request

from api import query
from api.body import StrictParser
from api.guard import guarded
from api.refusals import merged, refusals
from inference import errors
from inference.access.model import Reach, Role
from inference.ids import FORM

View = TypeVar("View", bound=Callable[..., Any])

FORMS = {"key_id": "[0-9a-f]{12}", "tenant_id": "[a-z0-9][a-z0-9_-]{0,63}", "node_id": "[^/]{1,128}"}
"""Ids that are no `FORM`."""

_IN_PATH = re.compile(r"<(\w+_id)>")


class Blueprint(flask_smorest.Blueprint):  # type: ignore[misc]  # it has no types
    """Pass schema instances, never classes: a class is built anew on every request.

    `needs` stands at every route: the role that may call it, or None for what anybody may ask (probes, the login).
    """

    ARGUMENTS_PARSER = StrictParser()

    def route(
        self, rule: str, *, needs: Role | None, reach: Reach = Reach.SERVICE, **options: Any
    ) -> Callable[[View], View]:
        """`reach`: how much the caller's key must cover; what it returns is narrowed to its scope in any case."""
        ids = [_id_in_path(name) for name in _IN_PATH.findall(rule)]
        decorate: Callable[[View], View] = super().route(rule, parameters=ids, **options)
        if needs is None:
            return decorate
        role = needs

        def guard(view: View) -> View:
            said: dict[str, Any] = getattr(view, "_apidoc", {})
            known = said.get("manual_doc", {}).get("responses", {})
            asked = view if _reads_query(said) else _without_query(view)
            return decorate(self.doc(**_protected(role, reach, known))(guarded(asked, role, reach)))

        return guard

    def arguments(self, schema: Any, **options: Any) -> Callable[[View], View]:
        decorate: Callable[[View], View] = super().arguments(schema, **options)
        return decorate

    def response(self, status_code: int, schema: Any = None, **options: Any) -> Callable[[View], View]:
        decorate: Callable[[View], View] = super().response(status_code, schema, **options)
        return decorate

    def alt_response(self, status_code: int, **options: Any) -> Callable[[View], View]:
        decorate: Callable[[View], View] = super().alt_response(status_code, **options)
        return decorate

    @staticmethod
    def doc(**options: Any) -> Callable[[View], View]:
        decorate: Callable[[View], View] = flask_smorest.Blueprint.doc(**options)
        return decorate


def _id_in_path(name: str) -> dict[str, Any]:
    """How the documentation shows an id in a path: a text of another form is never the id of anything."""
    form = FORMS.get(name, FORM)
    return {"in": "path", "name": name, "required": True, "schema": {"type": "string", "pattern": f"^{form}$"}}


def _reads_query(said: Mapping[str, Any]) -> bool:
    """Whether a view, by its documentation, takes parameters of a query; it then refuses unknown ones itself."""
    documented = said.get("arguments", {}).get("parameters", ()), said.get("manual_doc", {}).get("parameters", ())
    return any(one.get("in") == "query" for parameters in documented for one in parameters)


def _without_query(view: View) -> View:
    """The view, for requests without a query: a parameter that nobody reads would be believed to count."""

    @functools.wraps(view)
    def entered(*args: Any, **kwargs: Any) -> Any:
        if request.environ.get("QUERY_STRING"):
            query.read(request.args.items(multi=True), ())
        return view(*args, **kwargs)

    return cast(View, entered)


def _protected(role: Role, reach: Reach, known: dict[str, Any]) -> dict[str, Any]:
    """What the OpenAPI document says of a guarded operation; `known`: its other refusals."""
    more = refusals(
        errors.Unauthenticated,
        errors.RoleTooLow,
        errors.ScopeTooNarrow,
        errors.HostRefused,
        errors.RateLimited,
        errors.TooManyWrongKeys,
        errors.UnknownField,
    )
    return {
        "security": [{"bearer": []}, {"apiKey": []}],
        "x-required-role": role.value,
        "x-required-reach": reach.name.lower(),
        "responses": merged(known, more),
    }
