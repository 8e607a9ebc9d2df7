"""The paragraph on top: what happened, what changed, what to look at. Decided in pure functions, said in one language.

A figure counts as changed where the difference is more than what the same load shows from one day to the next.
"""

from collections.abc import Sequence

from inference.reports import shown
from inference.reports.model import Facts, Figures
from inference.reports.texts import CATALOGUE, say

CHANGED = 0.1
"""Of throughput, latency and cost."""
ERRORS_CHANGED = 0.005
"""Of all that ended, in points."""
ERRORS_MANY = 0.01
IDLE_MANY = 0.5
LEAST_MONEY = 1.0
"""Of any currency: what is less is not worth a person's look."""
GPU_LITTLE = 0.2
WAIT_LONG_S = 0.1
MOST_LOOKS = 3
DAY_S = 86_400

Said = tuple[str, dict[str, str]]
"""A key of the catalogue, and what is filled in."""


def paragraph(facts: Facts, language: str) -> str:
    """Three to seven sentences."""
    before = CATALOGUE[language][_before(facts)]
    said = [*happened(facts), *_changed(facts, language, before), *looks(facts)]
    gap = CATALOGUE[language]["space"]
    return gap.join(say(language, key, **values) for key, values in said)


def happened(facts: Facts) -> list[Said]:
    """What ended, how fast, what failed, and what it cost."""
    now = facts.now
    if not now.done and not now.failed:
        return [
            ("said_only_came", {"submitted": shown.count(now.submitted)}) if now.submitted else ("said_nothing", {})
        ]
    said: list[Said] = []
    p50, p95 = shown.duration(now.p50_s), shown.duration(now.p95_s)
    if now.done > 1:
        said.append(
            ("said_done", {"done": shown.count(now.done), "rate": shown.rate(now.per_s), "p50": p50, "p95": p95})
        )
    else:
        said.append(("said_one_done", {"p95": p95}) if now.done else ("said_none_done", {}))
    if now.failed:
        code = next(iter(sorted(now.errors, key=lambda code: (-now.errors[code], code))), "unknown")
        ratio = shown.share(now.error_ratio)
        said.append(("said_failed", {"failed": shown.count(now.failed), "ratio": ratio, "code": code}))
    else:
        said.append(("said_none_failed", {}))
    if now.money:
        said.append(("said_cost", {"money": shown.money(now.money, facts.currency)}))
    return said


def changes(now: Figures, before: Figures) -> list[Said]:
    """What is different from the range before, most telling first."""
    found: list[Said] = []
    if _differs(now.per_s, before.per_s):
        found.append((_way("per_s", now.per_s, before.per_s), {"by": shown.share(abs(now.per_s / before.per_s - 1))}))
    if now.p95_s is not None and before.p95_s is not None and _differs(now.p95_s, before.p95_s):
        values = {"old": shown.duration(before.p95_s), "new": shown.duration(now.p95_s)}
        found.append((_way("p95", now.p95_s, before.p95_s), values))
    one, other = now.error_ratio, before.error_ratio
    if one is not None and other is not None and abs(one - other) > ERRORS_CHANGED:
        found.append((_way("errors", one, other), {"old": shown.share(other), "new": shown.share(one)}))
    if now.money and before.money and _differs(now.money, before.money):
        found.append((_way("money", now.money, before.money), {"by": shown.share(abs(now.money / before.money - 1))}))
    return found


def looks(facts: Facts) -> list[Said]:
    """What deserves a look, most urgent first."""
    now, before = facts.now, facts.before
    found: list[Said] = []
    if firing := [alert for alert in facts.alerts if alert.resolved_at is None]:
        worst = min(firing, key=lambda alert: (alert.severity != "critical", alert.severity != "warning", alert.name))
        found.append(("look_alerts", {"name": worst.name}))
    if not now.done and now.queue >= 1:
        found.append(("look_silent", {}))
    if facts.errors and (now.error_ratio or 0) > ERRORS_MANY:
        first = facts.errors[0]
        found.append(("look_errors", {"code": first.code, "share": shown.share(first.count / max(1, now.failed))}))
    if now.wait_s is not None and now.run_s is not None and now.wait_s > max(now.run_s, WAIT_LONG_S):
        found.append(("look_waiting", {}))
    if now.run_s and before.run_s and now.run_s > before.run_s * (1 + 2 * CHANGED):
        found.append(("look_engine", {}))
    if now.money and now.idle_money is not None and now.idle_money > max(IDLE_MANY * now.money, LEAST_MONEY):
        found.append(("look_idle", {}))
    if now.gpu is not None and now.gpu < GPU_LITTLE:
        found.append(("look_gpu", {"gpu": shown.share(now.gpu)}))
    return found[:MOST_LOOKS] or [("look_nothing", {})]


def _changed(facts: Facts, language: str, before: str) -> Sequence[Said]:
    if not facts.now.done and not facts.now.failed and not facts.before.done:
        return []
    if not facts.before.done and not facts.before.failed:
        return [("said_no_before", {"before": before})]
    found = changes(facts.now, facts.before)
    if not found:
        return [("said_same", {"before": before})]
    told = [say(language, key, **values) for key, values in found]
    head, last = told[:-1], told[-1]
    words = CATALOGUE[language]
    joined = words["comma"].join(head) + (words["and"] if head else "") + last
    return [("said_changed", {"before": before, "changes": joined})]


def _before(facts: Facts) -> str:
    length = facts.ends - facts.begins
    if abs(length - DAY_S) <= DAY_S / 24:  # a day with a change of clocks is an hour longer or shorter
        return "day_before"
    return "week_before" if abs(length - 7 * DAY_S) <= DAY_S / 24 else "range_before"


def _differs(one: float, other: float) -> bool:
    return other > 0 and abs(one / other - 1) > CHANGED


def _way(what: str, one: float, other: float) -> str:
    return f"{'rose' if one > other else 'fell'}_{what}"
