"""The pulse: a small shared record per engine child, through which it and its parent see each other.

A memory-mapped file, since spawned children inherit no memory. Every field is one aligned eight-byte number with one
writer; identities are short texts that change only while nobody depends on them.
"""

import mmap
import os
import struct
from enum import IntEnum
from pathlib import Path

from inference.settings import Settings

RECORD_BYTES = 256
INSTANCE_AT, TOKEN_AT = 128, 160
MOST_SLOTS = 64
WANTED_AT = RECORD_BYTES * MOST_SLOTS
"""After the children's records: how many of them the node agent wishes, one number."""
FILE_BYTES = WANTED_AT + RECORD_BYTES


class Field(IntEnum):
    """`STOP`: the call that began at this `PROGRESS` shall end. `BEGAN`: monotonic. `EXPECTED`: seconds of a call.

    `LOADS`: how many children of this slot have loaded their model, so far. `TRIES`: how many have begun to, since.
    """

    PID = 0
    GENERATION = 1
    PHASE = 2
    PROGRESS = 3
    DEADLINE = 4
    JOBS = 5
    SLOT = 6
    IS_STOPPING = 7
    LOADS = 8
    STOP = 9
    BEGAN = 10
    EXPECTED = 11
    TRIES = 12


_KEPT = (Field.PROGRESS, Field.IS_STOPPING, Field.LOADS, Field.TRIES)


class Phase(IntEnum):
    """What a child does. The deadline beside it is monotonic; 0 means none."""

    EMPTY = 0
    LOADING = 1
    IDLE = 2
    CLAIMING = 3
    RUNNING = 4
    FINISHING = 5
    LOAD_FAILED = 6
    RESTED = 7
    """Asked to leave, it holds nothing and takes nothing any more; its parent ends it."""


READY = frozenset({Phase.IDLE, Phase.CLAIMING, Phase.RUNNING, Phase.FINISHING})


class Record:
    """One child's record; numbers by `Field`."""

    def __init__(self, memory: memoryview) -> None:
        self._bytes = memory
        self._numbers = memory[: INSTANCE_AT - INSTANCE_AT % 8].cast("d")

    def get(self, field: Field) -> float:
        return self._numbers[field]

    def set(self, field: Field, value: float) -> None:
        self._numbers[field] = value

    @property
    def phase(self) -> Phase:
        return Phase(int(self._numbers[Field.PHASE]))

    def enter(self, phase: Phase, *, deadline: float = 0.0, jobs: int = 0) -> None:
        """A step forward: the new phase, the instant by which it must be left, and one more beat of progress."""
        self._numbers[Field.DEADLINE] = deadline
        self._numbers[Field.JOBS] = jobs
        self._numbers[Field.PHASE] = phase
        self._numbers[Field.PROGRESS] += 1

    @property
    def instance_id(self) -> str:
        return self._text(INSTANCE_AT, 32)

    @instance_id.setter
    def instance_id(self, text: str) -> None:
        self._put(INSTANCE_AT, 32, text)

    @property
    def token(self) -> str:
        return self._text(TOKEN_AT, 32)

    @token.setter
    def token(self, text: str) -> None:
        self._put(TOKEN_AT, 32, text)

    def clear(self) -> None:
        """As if no child had ever been here, but for the parent's own fields."""
        for field in Field:
            if field not in _KEPT:
                self._numbers[field] = 0
        self.instance_id = ""
        self.token = ""

    def _text(self, at: int, length: int) -> str:
        return bytes(self._bytes[at : at + length]).rstrip(b"\0").decode("ascii", "replace")

    def _put(self, at: int, length: int, text: str) -> None:
        self._bytes[at : at + length] = text.encode("ascii").ljust(length, b"\0")


class Pulse:
    """All records of one worker."""

    def __init__(self, path: Path) -> None:
        self._file = os.open(path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
        if os.fstat(self._file).st_size < FILE_BYTES:
            os.posix_fallocate(self._file, 0, FILE_BYTES)  # a hole in a full disk would be a SIGBUS
        self._memory = memoryview(mmap.mmap(self._file, FILE_BYTES))

    def record(self, index: int) -> Record:
        return Record(self._memory[index * RECORD_BYTES : (index + 1) * RECORD_BYTES])

    @property
    def wanted(self) -> int:
        """How many children there should be; 0 while nobody has said so."""
        return int(self._memory[WANTED_AT : WANTED_AT + 8].cast("d")[0])

    @wanted.setter
    def wanted(self, count: int) -> None:
        self._memory[WANTED_AT : WANTED_AT + 8].cast("d")[0] = count


def path_of(settings: Settings) -> Path:
    """The pulse file of the worker that this process is, or belongs to."""
    me = settings.process
    folder = settings.data_dir / "run"
    folder.mkdir(parents=True, exist_ok=True)
    return _path(settings, me.replica_id, me.replica_generation)


def wish(settings: Settings, *, replica_id: str, generation: int, instances: int) -> bool:
    """Tells a worker how many children it should have; False when it cannot be told yet, or any more."""
    try:
        file = os.open(_path(settings, replica_id, generation), os.O_RDWR | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        if os.fstat(file).st_size < FILE_BYTES:
            return False
        os.pwrite(file, struct.pack("d", instances), WANTED_AT)
    finally:
        os.close(file)
    return True


def _path(settings: Settings, replica_id: str, generation: int) -> Path:
    return settings.data_dir / "run" / f"pulse-{replica_id}-{generation}"
