"""Tells whether bytes are a pickle, without running any of it: opcodes are stepped over, arguments never read."""

import mmap
import re
from dataclasses import dataclass
from pickletools import (
    TAKEN_FROM_ARGUMENT1,
    TAKEN_FROM_ARGUMENT4,
    TAKEN_FROM_ARGUMENT4U,
    TAKEN_FROM_ARGUMENT8U,
    UP_TO_NEWLINE,
    OpcodeInfo,
    markobject,
    opcodes,
)
from typing import BinaryIO

STEP_LIMIT = 100_000
"""No file that is not a pickle gets this far."""

PROTOCOL_LIMIT = 15
"""Python's highest is 5."""

LINE_BYTES = 4_096

_OPCODES: dict[int, OpcodeInfo] = {ord(opcode.code): opcode for opcode in opcodes}
_CALLS = frozenset({"REDUCE", "OBJ", "NEWOBJ", "NEWOBJ_EX", "BUILD"})
_NAMES = frozenset({"GLOBAL", "STACK_GLOBAL", "EXT1", "EXT2", "EXT4", "PERSID", "BINPERSID"})
_LENGTHS = {
    TAKEN_FROM_ARGUMENT1: (1, False),
    TAKEN_FROM_ARGUMENT4: (4, True),
    TAKEN_FROM_ARGUMENT4U: (4, False),
    TAKEN_FROM_ARGUMENT8U: (8, False),
}
_NAME = re.compile(rb"[\w.\x80-\xff-]{1,512}")
_NUMBER = re.compile(rb"[\s\w.+-]+")
_LINES = {
    **dict.fromkeys(("INT", "LONG", "FLOAT", "GET", "PUT"), _NUMBER),
    "STRING": re.compile(rb"\s*['\"].*", re.S),
    "PERSID": re.compile(rb"[\x00-\x7f]*"),
    "UNICODE": re.compile(rb".*", re.S),
}
"""What the unpickler accepts as the rest of a line, roughly."""


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """The bytes of a file that can be seen, from its beginning. `size_bytes`: how many it says it has.

    `file`: the same as something to read and seek, where there is such a thing.
    """

    content: bytes | mmap.mmap
    size_bytes: int
    file: BinaryIO | None = None


class _NotAPickle(Exception):
    """The unpickler would stop here, and has run nothing yet."""


class _OutOfSight(Exception):
    """The rest of the file cannot be seen."""


def is_pickle(view: View) -> bool:
    """Whether an unpickler would get something from these bytes, or run something before it fails on them.

    What lies behind is of no interest: an unpickler does not look there either. Where the rest cannot be seen the
    answer is yes. More lenient than any unpickler, never stricter: a broken end does not undo what ran before it.
    """
    walk = _Walk(view)
    try:
        for _ in range(STEP_LIMIT):
            if walk.step():
                break
    except _NotAPickle:
        return False
    except _OutOfSight:
        pass
    return True


class _Walk:
    """Where in the bytes, and how much lies on the unpickler's stack above each of its marks."""

    def __init__(self, view: View) -> None:
        self._view = view
        self._at = 0
        self._levels = [0]
        self._has_named = False

    def step(self) -> bool:
        """One opcode on. True when it ends the pickle, or calls what the file has named before."""
        opcode = _OPCODES.get(self._take(1)[0])
        if opcode is None:
            raise _NotAPickle
        self._stack(opcode)
        self._skip(opcode)
        if opcode.name in _CALLS and not self._has_named:
            raise _NotAPickle  # nothing on the stack can be called
        self._has_named = self._has_named or opcode.name in _NAMES
        return opcode.name in ("STOP", "INST") or opcode.name in _CALLS

    def _stack(self, opcode: OpcodeInfo) -> None:
        if opcode.name == "MARK":
            self._levels.append(0)
            return
        wanted = opcode.stack_before
        if opcode.name == "POP" and not self._levels[-1]:
            wanted = [markobject]
        if markobject in wanted:
            if len(self._levels) == 1:
                raise _NotAPickle
            self._levels.pop()
            wanted = wanted[: wanted.index(markobject)]
        if self._levels[-1] < len(wanted):
            raise _NotAPickle
        self._levels[-1] += len(opcode.stack_after) - len(wanted)

    def _skip(self, opcode: OpcodeInfo) -> None:
        """The argument. One that every unpickler refuses ends the walk."""
        if opcode.arg is None:
            return
        if opcode.name in ("GLOBAL", "INST"):
            self._line(_NAME)  # the module
            self._line(_NAME)
            return
        size = opcode.arg.n
        if size == UP_TO_NEWLINE:
            self._line(_LINES[opcode.name])
        elif size >= 0:
            argument = self._take(size)
            if opcode.name == "PROTO" and argument[0] > PROTOCOL_LIMIT:
                raise _NotAPickle
        else:
            width, is_signed = _LENGTHS[size]
            length = int.from_bytes(self._take(width), "little", signed=is_signed)
            if length < 0:
                raise _NotAPickle
            self._pass(length)

    def _take(self, count: int) -> bytes:
        begin = self._at
        self._pass(count)
        return self._view.content[begin : self._at]

    def _pass(self, count: int) -> None:
        self._at += count
        if self._at > self._view.size_bytes:
            raise _NotAPickle
        if self._at > len(self._view.content):
            raise _OutOfSight

    def _line(self, form: re.Pattern[bytes]) -> None:
        begin, end = self._at, self._view.content.find(b"\n", self._at)
        if end < 0:
            raise _OutOfSight if len(self._view.content) < self._view.size_bytes else _NotAPickle
        if not form.fullmatch(self._view.content[begin : min(end, begin + LINE_BYTES)]):
            raise _NotAPickle
        self._at = end + 1
