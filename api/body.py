"""Request bodies: read once, within limits, strictly."""

import re
from collections.abc import Mapping
from typing import IO, Any, NoReturn

import marshmallow as ma
from flask import Request, request
from marshmallow import fields
from webargs.flaskparser import FlaskParser

from api import context, query
from inference.errors import InvalidField, TooLarge, UnknownField, UnsupportedMediaType
from inference.jobs import json_text

CONTROL_LIMIT_BYTES = 1 << 20


_JSON = re.compile(r"application/([\w.+-]+\+)?json\s*(;|$)", re.ASCII | re.IGNORECASE)


def read(limit_bytes: int, way_out: str = "") -> bytes:
    """The whole body of a JSON call. Raises TooLarge, and UnsupportedMediaType for what is packed or a form with files.

    In production mode a body must also say that it is JSON: a browser sends other types for pages of other sites
    without asking first. In development any other Content-Type may be wrong, as curl's is.
    """
    environ = request.environ
    kind = environ.get("CONTENT_TYPE", "")
    refuse_packed(environ)
    refuse_form(kind)
    text = _within(limit_bytes, way_out)
    require_json(kind, text, mode=context.core().settings.mode)
    return text


def refuse_form(kind: str) -> None:
    """Raises UnsupportedMediaType for a form with files, before it is read."""
    if kind.lower().startswith("multipart/"):
        raise _no_json(kind)


def require_json(kind: str, text: bytes, *, mode: str) -> None:
    """In production a body must say that it is JSON. Raises UnsupportedMediaType."""
    if kind == "application/json" or not text or mode != "production" or _JSON.match(kind):
        return
    raise _no_json(kind)


def refuse_packed(environ: Mapping[str, Any]) -> None:
    """Raises UnsupportedMediaType for a compressed body: its size would be known only after it is unpacked."""
    refuse_packing(environ.get("HTTP_CONTENT_ENCODING", "identity"))


def refuse_packing(packing: str) -> None:
    """`refuse_packed`, of the header alone."""
    if packing.lower() not in ("identity", ""):
        raise UnsupportedMediaType(f"Content-Encoding `{packing[:64]}`: send the body uncompressed.", got=packing[:64])


def _no_json(kind: str) -> UnsupportedMediaType:
    return UnsupportedMediaType("Send JSON, and say so (Content-Type: application/json).", got=kind[:64])


def _within(limit_bytes: int, way_out: str) -> bytes:
    environ = request.environ
    length = _length(environ.get("CONTENT_LENGTH"))
    if length is not None and length <= limit_bytes:
        return _read(environ["wsgi.input"], length)
    # Too large, or chunked; without either header it reads as empty.
    text = _read(request.stream, limit_bytes + 1)
    if len(text) > limit_bytes:
        drain(request.stream, 2 * limit_bytes)
        raise too_large(limit_bytes, length, way_out)
    return text


def drain(stream: IO[bytes], most: int) -> None:
    """Takes at most so much of the rest off the line: whoever closes on unread bytes may cut off the answer, too."""
    while most > 0 and (piece := stream.read(65_536)):
        most -= len(piece)


def _length(text: str | None) -> int | None:
    return int(text) if text and text.isdecimal() else None


def _read(stream: IO[bytes], most: int) -> bytes:
    """Reads until `most` bytes are there or the stream ends."""
    text = stream.read(most)
    while 0 < len(text) < most and (more := stream.read(most - len(text))):
        text += more
    return text


def too_large(limit: int, size: int | None, way_out: str) -> TooLarge:
    """The refusal of a body over the limit, to be raised. `size`: what it says of itself, if it does."""
    details = {"limit_bytes": limit} | ({"size_bytes": size} if size else {})
    return TooLarge(f"The body is larger than the {limit} bytes that are accepted here.{way_out}", **details)


class StrictParser(FlaskParser):
    """Reads bodies by our rules, lets an absent body be `{}`, and refuses with our errors."""

    DEFAULT_UNKNOWN_BY_LOCATION = {**FlaskParser.DEFAULT_UNKNOWN_BY_LOCATION, "query": ma.RAISE}  # noqa: RUF012

    def load_querystring(self, req: Request, schema: ma.Schema) -> Any:
        for name, values in req.args.lists():
            if len(values) > 1:
                raise query.repeated(json_text.short(name))
        return super().load_querystring(req, schema)

    def load_json(self, req: Request, schema: ma.Schema) -> Any:
        longest = getattr(schema, "limit_bytes", CONTROL_LIMIT_BYTES)
        text = read(min(longest, context.core().settings.api.body_limit_bytes))
        value = json_text.read(text) if text.strip() else {}
        if not isinstance(value, dict):
            raise InvalidField("The body must be a JSON object.", field="body", expected="an object")
        return value

    def handle_error(self, error: ma.ValidationError, req: Request, schema: ma.Schema, **_: Any) -> NoReturn:
        (location,) = error.messages_dict
        path, sentence = _first(error.messages_dict[location])
        path = json_text.short(path)
        what = "query parameter" if location == "query" else "field"
        if sentence == "Unknown field.":
            beside = _beside(schema, error.messages_dict[location])
            known = ", ".join(sorted(f"`{field.data_key or name}`" for name, field in beside.load_fields.items()))
            raise UnknownField(f"There is no {what} `{path}` here; known: {known or 'none'}.", field=path)
        if sentence == "Missing data for required field.":
            raise InvalidField(f"The {what} `{path}` is missing.", field=path)
        raise InvalidField(f"The {what} `{path}` is wrong: {sentence}", field=path)


def _beside(schema: ma.Schema, messages: Any) -> ma.Schema:
    """The schema of the object in which the first unknown field stands."""
    while isinstance(messages, dict):
        name, messages = next(iter(messages.items()))
        field = next((one for key, one in schema.load_fields.items() if (one.data_key or key) == name), None)
        inner = field.inner if isinstance(field, fields.List) else field
        schema = inner.schema if isinstance(inner, fields.Nested) else schema
    return schema


def _first(messages: Any, path: str = "") -> tuple[str, str]:
    """The first complaint, and the path of the field that it is about."""
    if isinstance(messages, dict):
        name, inner = next(iter(messages.items()))
        if name == "_schema" and path:
            return path, "It must be an object."
        return _first(inner, f"{path}.{name}" if path else str(name))
    return path or "body", str(messages[0]) if isinstance(messages, list) else str(messages)
