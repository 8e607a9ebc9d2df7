"""The invariants of DESIGN section 2, each a function of a history that yields what breaks it. Pure."""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from itertools import groupby
from typing import TypeAlias

from inference.jobs.model import MOVES
from inference.jobs.suspect import MOST_SHARED
from tests.chaos.history import FINAL, Attempt, History, Move
from tests.chaos.overtaking import overtaken

Found: TypeAlias = Iterator[tuple[str, str]]
ENDS_BADLY = {
    "completed": {"completed"},
    "failed": {"failed"},
    "dead": {"dead", "lost"},
    "cancelled": {"cancelled", "lost", "retried"},
    "expired": {"lost", "retried"},
}
"""Final state -> what the last attempt may have come to."""
GOES_ON = {"lost", "retried"}


def accepted(history: History) -> Found:
    """Every 202 id exists, and every job ends."""
    for line in history.lines("submit"):
        for job_id in line.get("ids") or () if line["status"] == 202 else ():
            if job_id not in history.by_id:
                yield "lost", f"{job_id} was accepted and is not there"
    for job in history.jobs:
        if job.state not in FINAL:
            yield "unended", f"{job.id} is {job.state}"
    for line in history.lines("retry", "requeue"):
        job = history.by_id.get(line["id"])
        if 200 <= (line["status"] or 0) < 300 and (job is None or job.generation < line["generation"]):
            yield "lost_generation", f"{line['id']} was to begin generation {line['generation']}"


def keys(history: History) -> Found:
    """One list of ids for each idempotency key, whatever was sent how often; a job for each value sent with one."""
    sent = defaultdict(list)
    for line in history.lines("submit"):
        if line.get("key") is not None:
            sent[line["tenant"], line["key"]].append(line)
    for (tenant, key), lines in sent.items():
        taken = [line for line in lines if line["status"] == 202]
        if len({tuple(line["ids"]) for line in taken}) > 1:
            yield "key_twice", f"{tenant}'s key {key} was answered with different ids"
        if len({tuple(line["values"]) for line in taken}) > 1:
            yield "key_other_body", f"{tenant}'s key {key} was accepted with different bodies"
        if len({tuple(line["values"]) for line in lines}) == 1 and any(line["status"] == 409 for line in lines):
            yield "key_refused", f"{tenant}'s key {key} was refused with the same body"
        for value in {value for line in lines for value in line["values"]}:
            if len(history.ids_of.get(value, ())) > 1:
                yield "duplicate_id", f"{value}, sent with key {key}, is {' and '.join(history.ids_of[value])}"


def moves(history: History) -> Found:
    """Only moves of the table; one final state a generation and nothing after it; a cancellation is obeyed."""
    before: dict[str, Move] = {}
    for move in history.moves or ():
        last, before[move.job_id] = before.get(move.job_id), move
        told = f"{move.job_id} went from {move.before} to {move.state}"
        if last is None:
            if (move.before, move.state, move.generation, move.attempt) != (None, "pending", 1, 0):
                yield "illegal_move", f"{told} at first"
        elif move.before != last.state:
            yield "illegal_move", f"{told}, but was {last.state}"
        elif move.generation != last.generation:
            if (move.generation, move.state, move.attempt) != (last.generation + 1, "pending", 0):
                yield "illegal_move", f"{told} as generation {move.generation}, attempt {move.attempt}"
            if last.state not in FINAL:
                yield "illegal_move", f"{told} as generation {move.generation}"
        elif last.state in FINAL:
            yield "moved_after_final", told
        elif move.state == last.state == "running" and move.attempt != last.attempt:
            yield "illegal_move", f"{move.job_id} was claimed as attempt {move.attempt} out of attempt {last.attempt}"
        elif move.state != last.state:
            yield from _step(last, move, told)


def _step(last: Move, move: Move, told: str) -> Found:
    if move.state not in MOVES[last.state]:  # type: ignore[index] # a StrEnum is its text
        yield "illegal_move", told
    if move.state == "running" and move.attempt != last.attempt + 1:
        yield "attempt_gap", f"{move.job_id} was claimed as attempt {move.attempt} after {last.attempt}"
    if last.is_cancel_asked and move.state != "cancelled":
        yield "cancel_ignored", told


def attempts(history: History) -> Found:
    """1 to n without gap in each generation, and only the last one ends the job.

    Those that count are at most the job's budget; a crash that it shared with mates does not count, and there are at
    most two of them. A budget of one is used up by any.
    """
    for (job_id, generation), rows in history.attempts_of.items():
        job = history.by_id.get(job_id)
        if job is None:
            continue
        if [row.attempt for row in rows] != list(range(1, len(rows) + 1)):
            yield "attempt_gap", f"{job_id}.{generation} has attempts {[row.attempt for row in rows]}"
        shared = sum(row.outcome == "lost" and (row.batch_size or 1) > 1 for row in rows)
        free = min(shared, MOST_SHARED) if job.max_attempts > 1 else 0
        if len(rows) - free > job.max_attempts:
            yield "attempts_over_max", f"{job_id}.{generation} had {len(rows)} of {job.max_attempts}, {shared} shared"
        if any(row.outcome not in GOES_ON for row in rows[:-1]):
            yield "attempt_after_final", f"{job_id}.{generation} came to {[row.outcome for row in rows]}"
    for job in history.jobs:
        rows = history.attempts_of.get((job.id, job.generation), [])
        if job.attempt != len(rows) + (job.state == "running"):
            yield "attempt_gap", f"{job.id} is {job.state} at attempt {job.attempt}, with {len(rows)} ended"
        yield from _last(job.id, job.state, rows)


def holders(history: History) -> Found:
    """An attempt is ended by the instance that claimed it last, or in its name."""
    held = {
        (move.job_id, move.generation, move.attempt): move.instance_id
        for move in history.moves or ()
        if move.state == "running"
    }
    for row in history.attempts:
        holder = held.get((row.job_id, row.generation, row.attempt), row.instance_id)
        if holder != row.instance_id:
            yield "attempt_by_another", f"{row.job_id}.{row.generation}.{row.attempt}: {row.instance_id}, not {holder}"


def _last(job_id: str, state: str, rows: list[Attempt]) -> Found:
    last = rows[-1].outcome if rows else None
    if state in ("completed", "failed", "dead") and last is None:
        yield "last_attempt_differs", f"{job_id} is {state} without an attempt"
    elif last is not None and last not in ENDS_BADLY.get(state, GOES_ON):
        yield "last_attempt_differs", f"{job_id} is {state}; its last attempt came to {last}"


def results(history: History) -> Found:
    """A result for each completed job and for no other, as the client knows that it must be; and the right end."""
    for job in history.jobs:
        if (job.state == "completed") != (job.id in history.results):
            yield "result_missing" if job.state == "completed" else "result_stray", f"{job.id} is {job.state}"
    asked = {line["id"] for line in history.lines("cancel")}
    for line in history.lines("submit"):
        for index, job_id in enumerate(line.get("ids") or () if line["status"] == 202 else ()):
            job = history.by_id.get(job_id)
            if job is None or job.state not in FINAL:
                continue
            ends = {*(line["ends"][index] if line.get("ends") else ["completed"])}
            if job.state not in ends | ({"cancelled"} if job_id in asked else set()):
                yield "wrong_end", f"{job_id} (value {line['values'][index]}) is {job.state}"
            if job_id in history.results and line.get("answers"):
                right, is_so = line["answers"][index], history.results[job_id]
                if is_so != right:
                    yield "result_wrong", f"{job_id}: {is_so} instead of {right}"


def runs(history: History) -> Found:
    """Every engine run has a claim, by the process that ran it; every result has a run by the process that wrote it."""
    if history.effects is None or history.moves is None or history.lives is None:
        return
    pids = defaultdict(set)
    for life in history.lives:
        pids[life.instance_id, life.generation].add(life.pid)
    claimed: set[tuple[object, int]] = set()
    for move in history.moves:
        if move.state == "running" and move.before == "pending" and move.job_id in history.by_id:
            value = history.by_id[move.job_id].value
            claimed |= {(value, pid) for pid in pids[move.instance_id, move.instance_generation]}
    ran = {(effect.value, effect.pid) for effect in history.effects}
    for value, pid in sorted(ran - claimed, key=str):
        yield "run_without_claim", f"process {pid} ran {value}, which it had not claimed"
    for move in history.moves:
        if move.state == "completed" and move.before == "running" and move.job_id in history.by_id:
            value = history.by_id[move.job_id].value
            if not any((value, pid) in ran for pid in pids[move.instance_id, move.instance_generation]):
                yield "result_without_run", f"{move.job_id} was completed by a process that never ran {value}"


def usage(history: History) -> Found:
    """What was counted is what completed or failed: each once."""
    if history.usage is None:
        return
    should: Counter[tuple[str, str]] = Counter()
    for attempt in history.attempts:
        if attempt.outcome in ("completed", "failed") and (job := history.by_id.get(attempt.job_id)) is not None:
            should[job.tenant_id, job.service_id] += 1
    for owner in should.keys() | history.usage.keys():
        if should[owner] != history.usage.get(owner, 0):
            yield "usage_differs", f"{owner}: {history.usage.get(owner, 0)} counted, {should[owner]} ended"


def priority(history: History) -> Found:
    """Nobody is claimed while something more urgent of the same service stands by."""
    for later, sooner in overtaken(history.moves or (), slack_s=history.slack_s):
        yield "overtaken", f"{later} was claimed before {sooner}"


def tenants(history: History) -> Found:
    """Nobody is shown another tenant's job; what was said to be final stays so, and is the truth."""
    for line in history.lines("read", "cancel", "retry", "requeue"):
        job = history.by_id.get(line["id"])
        if job is None or not 200 <= (line["status"] or 0) < 300:
            continue
        if line["tenant"] != job.tenant_id:
            yield "cross_tenant", f"{line['tenant']} reached {job.id} of {job.tenant_id} by {line['op']}"
        generation = line.get("generation") or (1 if job.generation == 1 else None)
        said, truth = line.get("state"), history.ends.get((job.id, generation or 0))
        if said in FINAL and generation is not None and said != truth:
            yield "answer_changed", f"{job.id}.{generation} was said to be {said} and is {truth}"
        is_now = generation == job.generation and said == job.state == "completed"
        if is_now and "answer" in line and line["answer"] != history.results.get(job.id):
            yield "answer_changed", f"{job.id} was answered {line['answer']}"


def generations(history: History) -> Found:
    """Who was told of a new generation is never shown an earlier one again."""
    begun = [line for line in history.lines("retry", "requeue") if 200 <= (line["status"] or 0) < 300]
    for line in history.lines("read") if begun else ():
        shown = line.get("generation")
        for earlier in begun:
            is_before = earlier["id"] == line["id"] and earlier.get("done", earlier["at"]) < line["at"]
            if is_before and shown is not None and shown < earlier["generation"]:
                yield "stale_read", f"{line['id']}.{shown} was shown after {earlier['generation']} had begun"


def events(history: History) -> Found:
    """One event for each final state of a job that has a callback; what was received was meant."""
    if history.outbox is None:
        return
    rows = sorted(history.outbox, key=lambda row: (row.job_id, row.generation, row.event))
    for (job_id, generation, event), same in groupby(rows, key=lambda row: (row.job_id, row.generation, row.event)):
        if len({row.id for row in same}) > 1:
            yield "event_twice", f"{job_id}.{generation} is {event} under several ids"
    ended = {(row.job_id, row.generation): row for row in rows if row.event == "finished"}
    for (job_id, generation), state in history.ends.items():
        job = history.by_id.get(job_id)
        if job is None or job.callback_url is None or job.callback_events == 2:
            continue
        row = ended.get((job_id, generation))
        if row is None:
            yield "event_missing", f"{job_id}.{generation} is {state}"
        elif row.job_state != state:
            yield "event_differs", f"{row.id} says {row.job_state}, the job is {state}"
    yield from _received(history)


def _received(history: History) -> Found:
    lines = history.lines("event")
    known = {row.id: row for row in history.outbox or ()}
    for line in lines:
        if line["id"] not in known:
            yield "event_unknown", f"{line['id']} was received"
        elif line["state"] != known[line["id"]].job_state:
            yield "event_differs", f"{line['id']} told {line['state']}, meant {known[line['id']].job_state}"
    got = {line["id"] for line in lines}
    for row in known.values() if lines else ():
        if row.state == "delivered" and row.id not in got:
            yield "event_unreceived", f"{row.id} counts as delivered"


CHECKS: tuple[Callable[[History], Found], ...] = (
    accepted,
    keys,
    moves,
    attempts,
    holders,
    results,
    runs,
    usage,
    priority,
    tenants,
    generations,
    events,
)
