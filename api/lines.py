"""JSON Lines as they arrive: in handfuls, each line read once, what is plain checked together."""

import io
from collections.abc import Iterator, Sequence
from typing import Any, Protocol, TypeAlias

import msgspec
from msgspec import UNSET

from api import submission
from api.schemas import task_in
from inference.access.model import Principal
from inference.core import Core
from inference.errors import PenstockError, TooLarge
from inference.jobs import inputs_many
from inference.jobs.bulk import PLAIN, Options, Parsed
from inference.registry.model import ModelVersion

NAMES = frozenset(
    {"application/x-ndjson", "application/ndjson", "application/jsonl", "application/x-jsonlines",
     "application/jsonlines", "application/json-lines", "application/x-jsonl"}
)  # fmt: skip
KIND = "application/x-ndjson"
CHUNK_LINES = 500
CHUNK_BYTES = 2 << 20
BUFFER_BYTES = 65_536

Task: TypeAlias = tuple[Parsed, Options]


class LineReader:
    """Reads the lines of one request. Not to be shared between threads."""

    def __init__(self, core: Core, by: Principal, model: ModelVersion, *, priority: int) -> None:
        self._core = core
        self._by = by
        self._model = model
        self._priority = priority
        self._plain: Options = {**PLAIN, "priority": priority}
        self._longest = core.settings.api.inline_limit_bytes
        self.limit_bytes = self._longest + task_in.METADATA_LIMIT_BYTES + 4096
        """The longest line that may still be a task: its input, its metadata and the rest."""
        self._forms = [(form, _decoder(form)) for form in inputs_many.forms(model.signature.inputs)]

    def read(self, lines: Sequence[bytes], *, before: int) -> tuple[list[Task], tuple[int, PenstockError] | None]:
        """The tasks of the good lines before the first bad one, and that one's number and error.

        Empty lines are skipped. `before`: how many lines came before these.
        """
        tasks = self._together(lines)
        found: list[Task] = []
        for index, task in enumerate(tasks):
            if task is None:
                if not lines[index].strip():
                    continue
                try:
                    task = self._alone(lines[index])
                except PenstockError as error:
                    return found, (before + index + 1, error)
            found.append(task)
        return found, None

    def _together(self, lines: Sequence[bytes]) -> list[Task | None]:
        """None for each line that has to be read by itself: it is not plain, or it is wrong."""
        tasks: list[Task | None] = [None] * len(lines)
        left = list(range(len(lines)))
        for form, decoder in list(self._forms):
            read, indices, options, others = [], [], [], []
            decode, keys, longest, plain = decoder.decode, form.keys + 1, self._longest, self._plain
            for index in left:
                line = lines[index]
                try:
                    task = decode(line)
                except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
                    others.append(index)
                    continue
                if len(line) > longest:
                    continue
                given = plain if line.count(b":") == keys else self._options(task, line, keys)
                if given is not None:
                    read.append(task.input_data)
                    indices.append(index)
                    options.append(given)
            for index, parsed, given in zip(indices, form.parse(read), options, strict=True):
                if parsed is not None:
                    tasks[index] = parsed, given
            if read and not others:
                self._first(form)
                break
            left = others
        return tasks

    def _first(self, form: inputs_many.Form) -> None:
        """The lines of a file are written alike: what took these is tried first with the next."""
        self._forms.sort(key=lambda one: one[0] is not form)

    def _options(self, task: Any, line: bytes, keys: int) -> Options | None:
        """None when a key may stand twice, or an option is wrong."""
        keys += task_in.written(task)
        if task.metadata:
            keys += 1 + bytes(task.metadata).count(b":")
        if keys != line.count(b":") or task.callback_url is not UNSET or task.callback_events is not UNSET:
            return None
        try:
            return {**PLAIN, **task_in.checked(task, priority=self._priority)}
        except PenstockError:
            return None

    def _alone(self, line: bytes) -> Task:
        if not line.endswith(b"\n") and len(line) >= self.limit_bytes:
            raise TooLarge(f"The line is longer than a task may be.{task_in.UPLOAD_WAY_OUT}", limit_bytes=self._longest)
        task = task_in.read_task(line)
        spec = submission.specify(self._core, self._by, task, self._model, priority=self._priority)
        options = {name: getattr(spec, name) for name in PLAIN}
        return (spec.payload, spec.rows, spec.bucket), options


def _decoder(form: inputs_many.Form) -> "msgspec.json.Decoder[Any]":
    kind = msgspec.defstruct(
        "Line", [("input_data", form.type)], bases=(task_in.Options,), kw_only=True, forbid_unknown_fields=True
    )
    return msgspec.json.Decoder(kind)


def handfuls(stream: "Readable", limit_bytes: int) -> Iterator[list[bytes]]:
    """The lines of a request's body, with their ends. A line longer than the limit comes cut, as the last of all."""
    reader = io.BufferedReader(_Raw(stream), BUFFER_BYTES)
    chunk: list[bytes] = []
    size = 0
    while line := reader.readline(limit_bytes):
        chunk.append(line)
        size += len(line)
        is_cut = len(line) >= limit_bytes and not line.endswith(b"\n")
        if len(chunk) >= CHUNK_LINES or size >= CHUNK_BYTES or is_cut:
            yield chunk
            if is_cut:
                return
            chunk, size = [], 0
    if chunk:
        yield chunk


class Readable(Protocol):
    def read(self, size: int, /) -> bytes: ...


class _Raw(io.RawIOBase):
    """The request's stream as BufferedReader wants it; reading it line by line would be byte by byte."""

    def __init__(self, stream: Readable) -> None:
        self._stream = stream

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any, /) -> int:
        piece = self._stream.read(len(buffer))
        buffer[: len(piece)] = piece
        return len(piece)
