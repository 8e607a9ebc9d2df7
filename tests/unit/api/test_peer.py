"""Whose address counts: the front's word behind the front, the socket's own everywhere else."""

import pytest

from api import peer


@pytest.mark.parametrize(
    ("socket", "told", "behind_front", "expected"),
    [
        ("10.0.0.9", None, False, "10.0.0.9"),
        ("10.0.0.9", "1.2.3.4", False, "10.0.0.9"),
        ("10.0.0.9", "1.2.3.4", True, "1.2.3.4"),
        ("10.0.0.9", None, True, "10.0.0.9"),
        ("", "1.2.3.4", True, "1.2.3.4"),
        ("", "2001:db8::7", True, "2001:db8::7"),
        ("", "::ffff:1.2.3.4", True, "1.2.3.4"),
        ("::ffff:10.0.0.9", None, False, "10.0.0.9"),
        ("", "1.2.3.4", False, peer.UNKNOWN),
        ("", "", True, peer.UNKNOWN),
        (None, None, True, peer.UNKNOWN),
    ],
)
def test_the_front_is_believed_only_where_nobody_else_can_connect(socket, told, behind_front, expected):
    environ = {"REMOTE_ADDR": socket, "HTTP_X_FORWARDED_FOR": "6.6.6.6"}
    headers = [(b"x-forwarded-for", b"6.6.6.6"), (b"host", b"a")]
    if told is not None:
        environ["HTTP_X_REAL_IP"] = told
        headers.append((b"x-real-ip", told.encode()))
    scope = {"headers": headers, "client": None if socket is None else (socket, 4711)}

    of_wsgi = peer.of_wsgi(environ, behind_front=behind_front)
    of_asgi = peer.of_asgi(scope, behind_front=behind_front)

    assert of_wsgi == of_asgi == expected
