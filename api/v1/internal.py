"""What the front asks before it lets somebody through; never reached from outside, and in no documentation."""

import base64

from flask import Response, request

from api import context, origin, peer
from api.blueprint import Blueprint
from api.errors import answer
from api.guard import presented
from api.handlers import to_response
from inference.access.door import allow
from inference.access.model import Reach, Role
from inference.errors import Unauthenticated

blueprint = Blueprint("internal", __name__)

CHALLENGE = 'Basic realm="penstock"'


@blueprint.route("/internal/flower-login", needs=None)
def flower_login() -> Response:
    """204 for who may see Flower: every task of the installation, so an operator with a key of the system.

    A browser asks its user: any name, and the key as the password.
    """
    environ, core = request.environ, context.core()
    # Flower asks for no token: its password is sent by the browser for pages of other sites, too.
    if (refused := origin.refusal(environ.get("HTTP_X_ORIGINAL_METHOD", "GET"), environ)) is not None:
        raise refused
    authorization = environ.get("HTTP_AUTHORIZATION")
    try:
        principal = core.door.enter(
            password_of(authorization) or presented(authorization, environ.get("HTTP_X_API_KEY")),
            address=peer.of_wsgi(environ, behind_front=core.settings.api.behind_front),
            host=environ.get("HTTP_HOST", ""),
        )
    except Unauthenticated as refusal:
        response = to_response(answer(refusal))
        response.headers["WWW-Authenticate"] = CHALLENGE
        return response
    allow(principal, Role.OPERATOR, Reach.SYSTEM)
    return Response(status=204)


def password_of(authorization: str | None) -> str | None:
    """The password of HTTP Basic; None for another scheme, empty for one that cannot be read."""
    scheme, _, text = (authorization or "").partition(" ")
    if scheme.lower() != "basic":
        return None
    try:
        return base64.b64decode(text.strip(), validate=True).decode("utf-8", "replace").partition(":")[2]
    except ValueError:
        return ""
