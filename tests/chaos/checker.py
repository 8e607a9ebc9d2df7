"""What became of all jobs: `python -m tests.chaos.checker --client FILE --database URL --effects FILE`.

Prints one JSON line and exits 1 when an invariant of DESIGN section 2 does not hold. To be run when the system is at
rest: a job that still waits or runs counts as `unended`. Any file may be left out; what it would have shown is then
named in `unchecked`. From Python: `judge(history)`, with a History of plain data (`tests/chaos/history.py`).

**Before the load**: `python -m tests.chaos.trace --database URL` (or `trace.install(database)`) once, after the
migrations. Its triggers note every change of a job, so that claims which were given back, moves after the end and
the order of claims can be judged. On PostgreSQL a claim skips what another one is just looking at: `--slack` (1 s)
is how long a job must have stood by before and after a claim to count as overtaken; make it longer than a worker that
was stopped may sit on locked rows (20 s). On SQLite claims take turns and the judgement is exact.

**Client log**: JSON lines, each with `op`, `at` (epoch seconds when it was sent), `done` (when it was answered; `at` if
left out), `status` (HTTP, null when no answer came), `tenant`.
  submit            `values`: one number per job, which identifies it for good (the first element of its first input
                    tensor, exact in float32 and never used for another job; a re-send uses the same ones).
                    `key`: the Idempotency-Key or null. `ids`: of a 202. Optional, one per value: `answers`: the
                    result as JSON, for the oracle; `ends`: the list of final states that are right for it, by default
                    ["completed"]; `cancelled` is right too where a `cancel` line names the job.
  cancel            `id`, `state` as answered.
  retry, requeue    `id`, `generation` as answered.
  read              `id`, `state`, and if known `generation` and `answer` (the result).
  event             a webhook that was received: `id` (webhook-id), `state`; `status` and `tenant` are not needed.

**Effect log**: JSON lines `{"value": 17.0, "pid": 4711}`, written by the engine, in the process that runs it, for each
job of each run, before it computes; appended with one write per line.

**Output**: `jobs` (rows), `acked` (ids answered with 202), `completed`, `failed`, `dead`, `cancelled`, `expired`
(states now), `lost` (acked and not there, or without an end), `duplicate_ids`, `duplicate_effects` (final states,
results or usage beyond one), `attempts`, `runs`, `violations` (name -> how many), `examples` (name -> up to three),
`unchecked`. The names: lost, unended, lost_generation, key_twice, key_other_body, key_refused, duplicate_id,
illegal_move, moved_after_final, cancel_ignored, attempt_gap, attempts_over_max, attempt_after_final,
attempt_by_another, last_attempt_differs, result_missing, result_stray, result_wrong, wrong_end, run_without_claim,
result_without_run, usage_differs, overtaken, cross_tenant, answer_changed, stale_read, event_twice, event_missing,
event_differs, event_unknown, event_unreceived.
"""

import argparse
import json
import sys
from collections import Counter, defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from inference.settings import StoreSettings
from inference.store.database import Database
from tests.chaos import reading
from tests.chaos.checks import CHECKS
from tests.chaos.history import FINAL, History

EXAMPLES = 3
DOUBLED = ("moved_after_final", "attempt_after_final", "event_twice")
GONE = ("lost", "unended", "lost_generation")


def judge(history: History) -> dict[str, Any]:
    """The figures described above, for a scenario that is over."""
    found: dict[str, list[str]] = defaultdict(list)
    for check in CHECKS:
        for name, text in check(history):
            found[name].append(text)
    states = Counter(job.state for job in history.jobs)
    acked = {job_id for line in history.lines("submit") if line["status"] == 202 for job_id in line.get("ids") or ()}
    return {
        "jobs": len(history.jobs),
        "acked": len(acked),
        **{state: states[state] for state in sorted(FINAL)},
        "lost": sum(len(found.get(name, ())) for name in GONE),
        "duplicate_ids": len(found.get("duplicate_id", ())) + len(found.get("key_twice", ())),
        "duplicate_effects": sum(len(found.get(name, ())) for name in DOUBLED) + _surplus(history),
        "attempts": len(history.attempts),
        "runs": len(history.effects or ()),
        "violations": {name: len(texts) for name, texts in sorted(found.items())},
        "examples": {name: texts[:EXAMPLES] for name, texts in sorted(found.items())},
        "unchecked": _unchecked(history),
    }


def _surplus(history: History) -> int:
    """By how much more was counted as used than jobs ended."""
    if history.usage is None:
        return 0
    ended = sum(attempt.outcome in ("completed", "failed") for attempt in history.attempts)
    return max(0, sum(history.usage.values()) - ended)


def _unchecked(history: History) -> list[str]:
    parts: Mapping[str, object] = {
        "client": history.client or None,
        "effects": history.effects,
        "moves": history.moves,
        "lives": history.lives,
        "outbox": history.outbox,
        "usage": history.usage,
    }
    return [name for name, part in parts.items() if part is None]


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos.checker")
    parser.add_argument("--client", type=Path)
    parser.add_argument("--database", required=True)
    parser.add_argument("--effects", type=Path)
    parser.add_argument("--slack", type=float, default=1.0, help="seconds; PostgreSQL only")
    asked = parser.parse_args(arguments)
    database = Database(asked.database, StoreSettings())
    try:
        history = reading.read(
            database, client=asked.client, effects=asked.effects, slack_s=None if database.is_sqlite else asked.slack
        )
    finally:
        database.close()
    figures = judge(history)
    print(json.dumps(figures))
    return int(bool(figures["violations"]))


if __name__ == "__main__":
    sys.exit(main())
