"""Open streams of events: who watches which task. One event loop, no locks, one look a second for all of them."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from typing import NamedTuple

import orjson
import structlog

from api import errors
from inference.errors import PenstockError, Unavailable
from inference.jobs import events, progress
from inference.jobs.events import Place
from inference.jobs.model import FINAL, JobHistory, Mark
from inference.jobs.progress import Progress

log = structlog.get_logger(__name__)

LOOK_S = 1.0
BEAT_S = 15.0
AGAIN_MS = 1000
BEAT = b":\n\n"

Read = Callable[[], Awaitable[JobHistory]]
Check = Callable[[], None]


class Stream:
    """One client. `mark`: of what it was told last. `check` raises once it may not listen any longer."""

    def __init__(self, task_id: str, check: Check) -> None:
        self.task_id = task_id
        self.check = check
        self.news = asyncio.Event()
        self.has_moved = True
        self.mark: Mark | None = None
        self.report: Progress | None = None
        self.refusal: PenstockError | None = None

    def wake(self) -> None:
        """The task is to be read again."""
        self.has_moved = True
        self.news.set()

    def show(self, report: Progress) -> None:
        """What the engine said last is to be told, if it was not."""
        if report != self.report:
            self.report = report
            self.news.set()


class Seen(NamedTuple):
    """Where the tasks stand, None while that cannot be known; who may not listen any longer; and how far tasks are."""

    marks: Mapping[str, Mark] | None
    refusals: Mapping[Stream, PenstockError]
    reports: Mapping[str, Progress]


Look = Callable[[Sequence[Stream]], Awaitable[Seen]]


class Streams:
    """Wakes streams by the news of finished tasks, and by looking at the database while any stream is open.

    News tell of the end only, and may be lost. A look costs one statement by primary keys, once a second and process,
    whatever the number of clients.
    """

    def __init__(self, look: Look) -> None:
        self._look = look
        self._open: dict[str, set[Stream]] = {}
        self._looking: asyncio.Task[None] | None = None

    def __len__(self) -> int:
        return sum(len(streams) for streams in self._open.values())

    def wake(self, task_ids: Iterable[str]) -> None:
        """Makes those who watch one of these read it again."""
        for task_id in task_ids:
            for stream in self._open.get(task_id, ()):
                stream.wake()

    async def tell(self, stream: Stream, *, read: Read, last: Place | None) -> AsyncIterator[bytes]:
        """The text of the stream: what came after `last`, then what comes, until the newest generation is over.

        Registers first and reads then, so that news between the two is not missed.
        """
        self._register(stream)
        try:
            yield b"retry: %d\n\n" % AGAIN_MS
            while True:
                stream.news.clear()
                stream.has_moved = False
                if stream.refusal is not None:
                    raise stream.refusal
                try:
                    history = await read()
                except Unavailable:
                    await _comes(stream.news, within_s=LOOK_S)
                    yield BEAT
                    continue
                stream.mark = events.mark(history)
                for event in events.after(events.events(history), last):
                    last = event.place
                    yield events.text(stream.task_id, event)
                if history.job.state in FINAL:
                    return
                while not stream.has_moved:
                    if not await _comes(stream.news, within_s=BEAT_S):
                        yield BEAT
                    elif not stream.has_moved and stream.report is not None:
                        stream.news.clear()
                        yield b"event: progress\ndata: %s\n\n" % orjson.dumps(progress.fields(stream.report))
        except PenstockError as error:
            yield b"event: error\ndata: %s\n\n" % errors.answer(error).body
        finally:
            self._forget(stream)

    def _register(self, stream: Stream) -> None:
        self._open.setdefault(stream.task_id, set()).add(stream)
        if self._looking is None:
            self._looking = asyncio.ensure_future(self._look_while_open())

    def _forget(self, stream: Stream) -> None:
        streams = self._open[stream.task_id]
        streams.discard(stream)
        if not streams:
            del self._open[stream.task_id]

    async def _look_while_open(self) -> None:
        try:
            while self._open:
                await asyncio.sleep(LOOK_S)
                try:
                    await self._look_once()
                except Exception:
                    log.exception("look_failed")
        finally:
            self._looking = None

    async def _look_once(self) -> None:
        open_ones = [stream for streams in self._open.values() for stream in streams]
        if not open_ones:
            return
        seen = await self._look(open_ones)
        for stream in open_ones:
            stream.refusal = seen.refusals.get(stream)
            is_new = seen.marks is not None and seen.marks.get(stream.task_id) != stream.mark
            if is_new or stream.refusal is not None:
                stream.wake()
            elif (report := seen.reports.get(stream.task_id)) is not None:
                stream.show(report)


async def _comes(news: asyncio.Event, *, within_s: float) -> bool:
    try:
        await asyncio.wait_for(news.wait(), within_s)
    except TimeoutError:
        return False
    return True
