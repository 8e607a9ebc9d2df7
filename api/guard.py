"""Who may call a view: the check that every route has, and what it leaves for the view to use."""

import functools
from collections.abc import Callable, Mapping
from typing import Any, TypeVar, cast

from flask import request

from api import context, peer
from api.origin import SAFE
from inference.access import acting
from inference.access.door import allow
from inference.access.model import Actor, Principal, Reach, Role

View = TypeVar("View", bound=Callable[..., Any])


def guarded(view: View, needs: Role, reach: Reach) -> View:
    """The view, behind the check; before its body is read. What it changes is recorded as its caller's act."""

    @functools.wraps(view)
    def entered(*args: Any, **kwargs: Any) -> Any:
        environ = request.environ
        core = context.core()
        address = peer.of_wsgi(environ, behind_front=core.settings.api.behind_front)
        principal = core.door.enter(
            presented(environ.get("HTTP_AUTHORIZATION"), environ.get("HTTP_X_API_KEY")),
            address=address,
            host=environ.get("HTTP_HOST", ""),
        )
        core.door.count(principal)
        allow(principal, needs, reach)
        environ[context.PRINCIPAL] = principal
        if environ["REQUEST_METHOD"] in SAFE:
            return view(*args, **kwargs)
        with acting.acting(actor(principal, address, f"{environ['REQUEST_METHOD']} {environ.get('PATH_INFO', '')}")):
            return view(*args, **kwargs)

    return cast(View, entered)


def presented(authorization: str | None, api_key: str | None) -> str | None:
    """The key that a request shows, in `Authorization: Bearer` or `X-API-Key`; None for none.

    A header of another scheme shows no key of ours, and is then as good as none.
    """
    if authorization is not None:
        scheme, _, text = authorization.partition(" ")
        if scheme.lower() == "bearer":
            return text.strip()
    return api_key


def presented_in(headers: Mapping[str, str]) -> str | None:
    """`presented`, from Starlette's headers."""
    return presented(headers.get("authorization"), headers.get("x-api-key"))


def actor(principal: Principal, address: str, operation: str) -> Actor:
    """The principal as the audit record names it. `operation`: method and path, without the query."""
    return Actor(
        tenant_id=principal.scope.tenant_id,
        kind="open" if principal.key_id is None else "key",
        id=principal.key_id or "",
        name=principal.name,
        address=address,
        operation=operation[:300],
    )
