"""Results too large for a row: written to the blob store before their job is finished, read from it afterwards."""

from collections.abc import Sequence
from pathlib import Path

import msgspec
import structlog

from inference.clock import monotonic_s
from inference.errors import NotFound, TooLarge, Unavailable
from inference.jobs.model import JobView, Outcome, ResultRef
from inference.registry.ports import BlobStore

log = structlog.get_logger(__name__)

AGAIN_S = 300.0
"""After so long a wait for the database a content is written once more: nobody takes away what is that fresh."""


class LargeResults:
    """Of one process. `inline_bytes`: what is longer goes to `blobs`. Thread-safe.

    A content is there before the row that names it. If the row never comes (the job was cancelled, or its attempt
    fenced off), the content is garbage, which `registry.collect` finds.
    """

    def __init__(self, blobs: BlobStore, *, inline_bytes: int) -> None:
        self._blobs = blobs
        self._inline_bytes = inline_bytes

    def draft(self, outcomes: Sequence[Outcome]) -> "Draft | None":
        """What is to be written before these can be finished; None, for nearly all, when nothing is."""
        most = self._inline_bytes
        for outcome in outcomes:
            if outcome.result is not None and len(outcome.result) > most:
                return Draft(self._blobs, outcomes, inline_bytes=most)
        return None

    def path(self, ref: ResultRef) -> Path:
        """A local file with the JSON text. Raises NotFound, Unavailable."""
        return self._blobs.path(ref.sha256)

    def read_through(self, view: JobView, *, limit_bytes: int) -> JobView:
        """The view with its result in it; as it is when that is longer than `limit_bytes`, or gone."""
        ref = view.result_ref
        if ref is None or ref.size_bytes > limit_bytes:
            return view
        try:
            text = self.path(ref).read_bytes()
        except (NotFound, Unavailable, OSError) as error:
            log.warning("large_result_missing", job_id=view.id, reason=str(error))
            return view
        return msgspec.structs.replace(view, result=text, result_ref=None)


class Draft:
    """Outcomes of which some have a large result. Not thread-safe."""

    def __init__(self, blobs: BlobStore, outcomes: Sequence[Outcome], *, inline_bytes: int) -> None:
        self._blobs = blobs
        self._outcomes = list(outcomes)
        self._inline_bytes = inline_bytes
        self._written_at = float("-inf")

    def written(self) -> list[Outcome]:
        """The outcomes, with references to what is large, which lies in the blob store when it returns.

        Raises NoRoom, Unavailable; then to be asked again, as after each wait for the database.
        """
        if monotonic_s() - self._written_at >= AGAIN_S:
            self._outcomes = [self._set_apart(outcome) for outcome in self._outcomes]
            self._written_at = monotonic_s()
        return self._outcomes

    def keep(self) -> None:
        """After the commit: writes again what somebody took away in between. Never raises."""
        for outcome in self._outcomes:
            if outcome.result_ref is None:
                continue
            try:
                if not self._blobs.has(outcome.result_ref.sha256):
                    self._set_apart(outcome)
            except Exception as error:
                # The row is written, and the content was there a moment ago: nothing can be done about it here.
                log.warning("large_result_unchecked", job_id=outcome.job.id, reason=str(error))

    def _set_apart(self, outcome: Outcome) -> Outcome:
        if outcome.result is None or len(outcome.result) <= self._inline_bytes:
            return outcome
        try:
            blob = self._blobs.put_bytes(outcome.result)
        except OSError as error:
            raise Unavailable(f"A large result cannot be written to the blob store: {error}.", part="blobs") from error
        return msgspec.structs.replace(outcome, result_ref=ResultRef(sha256=blob.key, size_bytes=blob.size_bytes))


def whole(large: LargeResults | None, views: Sequence[JobView], *, limit_bytes: int) -> list[JobView]:
    """The views with their results in them. Raises TooLarge when all of them are longer than `limit_bytes`."""
    size = sum(view.result_ref.size_bytes for view in views if view.result_ref is not None)
    if size > limit_bytes:
        raise TooLarge(
            f"The results of these tasks are {size} bytes; at most {limit_bytes} can be read at once.",
            limit_bytes=limit_bytes,
            size_bytes=size,
        )
    return [view if large is None else large.read_through(view, limit_bytes=limit_bytes) for view in views]
