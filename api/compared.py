"""A comparison as JSON and as text for people."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from inference.jobs.model import JobView
from inference.results.difference import differences, read
from inference.results.model import Comparison, Difference, Pair, Side, Spread
from inference.results.sides import percentile, shift

WORST = 5
CLASSES = 10

Json = dict[str, Any]

TASK_COLUMNS = ("task_id", "model_version", "latency", "run_s", "output", "shape", "max_abs", "mean_abs", "cosine",
                "top1_agreement", "agrees", "note")  # fmt: skip
SIDE_COLUMNS = ("name", "tasks", "completed", "error_share", "throughput_per_s", "latency_p50", "latency_p95",
                "latency_p99")  # fmt: skip
PAIR_COLUMNS = ("output", "max_abs", "mean_abs", "cosine", "top1_agreement")


def of_tasks(views: Sequence[JobView], *, tolerance: float) -> Json:
    """Completed tasks beside the first of them."""
    answers = [read(view.result or b"{}") for view in views]
    found = [differences(answers[0], answer, tolerance=tolerance) for answer in answers]
    tasks = [_task(view, of_it) for view, of_it in zip(views, found, strict=True)]
    return {
        "reference": views[0].id,
        "tolerance": tolerance,
        "tasks": tasks,
        "winner": {
            "fastest": min(tasks, key=lambda task: task["latency"])["task_id"],
            "closest": _closest(views[1:], found[1:]),
        },
    }


def of_service(service_id: str, found: Comparison) -> Json:
    """Two sides of a service, their pairs if there are any, and who won."""
    sides = [_side(found.first), _side(found.second)]
    both = [name for name in found.first.outputs if name in found.second.outputs]
    return {
        "service_id": service_id,
        "sides": sides,
        "pairs": None if found.pairs is None else _pairs(found.pairs),
        "shift": {
            name: shift(found.first.outputs[name].top1, found.second.outputs[name].top1)
            for name in both
            if found.first.outputs[name].top1 and found.second.outputs[name].top1
        },
        "winner": {"faster": _less(sides, "latency_p50"), "fewer_errors": _less(sides, "error_share")},
    }


def tasks_table(shown: Json) -> str:
    """`of_tasks` as text: a line for each output of each task."""
    rows = [{**task, **output, "output": output["name"]} for task in shown["tasks"] for output in task["outputs"]]
    fastest, closest = shown["winner"]["fastest"], shown["winner"]["closest"]
    return f"{_text(TASK_COLUMNS, rows)}\nfastest: {fastest}\nclosest to the first: {closest or '-'}\n"


def service_table(shown: Json) -> str:
    """`of_service` as text: the sides, and their pairs if there are any."""
    text = _text(SIDE_COLUMNS, shown["sides"])
    if (pairs := shown["pairs"]) is not None:
        text += f"\nsame input: {pairs['count']}, agreeing: {pairs['agreeing']}\n"
        text += _text(PAIR_COLUMNS, [{"output": name, **one} for name, one in pairs["outputs"].items()])
    winner = shown["winner"]
    return f"{text}\nfaster: {winner['faster'] or '-'}\nfewer errors: {winner['fewer_errors'] or '-'}\n"


def _task(view: JobView, found: Sequence[Difference]) -> Json:
    ended = view.completed_at or view.created_at
    return {
        "task_id": view.id,
        "model_version": view.model_version,
        "latency": round(ended - view.created_at, 6),
        "run_s": None if view.started_at is None else round(ended - view.started_at, 6),
        "agrees": all(one.agrees for one in found),
        "outputs": [asdict(one) for one in found],
    }


def _closest(views: Sequence[JobView], found: Sequence[Sequence[Difference]]) -> str | None:
    """By agreement on the largest entries first, then by the largest difference; None where nothing can be compared."""
    ranked = [
        (-_agreement(of_it), _away(of_it), index)
        for index, of_it in enumerate(found)
        if of_it and all(one.equal_share is not None for one in of_it)
    ]
    return views[min(ranked)[2]].id if ranked else None


def _agreement(found: Sequence[Difference]) -> float:
    """Of the output that agrees least."""
    return min((one.top1_agreement for one in found if one.top1_agreement is not None), default=1.0)


def _away(found: Sequence[Difference]) -> float:
    """Of texts: the share that is not equal."""
    return max(one.max_abs if one.max_abs is not None else 1.0 - (one.equal_share or 0.0) for one in found)


def _side(side: Side) -> Json:
    tasks = sum(total.count for total in side.totals)
    completed = sum(total.count for total in side.totals if total.state == "completed")
    errors: dict[str, int] = {}
    for total in side.totals:
        if total.state != "completed":
            code = total.error_code or total.state
            errors[code] = errors.get(code, 0) + total.count
    since, until = side.span.since, side.span.until
    span_s = until - since if since is not None and until is not None and until > since else None
    return {
        "name": side.name,
        "tasks": tasks,
        "completed": completed,
        "error_share": (tasks - completed) / tasks if tasks else None,
        "errors": errors,
        "throughput_per_s": completed / span_s if span_s else None,
        "looked_at": side.looked_at,
        "latency_p50": percentile(side.latencies_s, 0.50),
        "latency_p95": percentile(side.latencies_s, 0.95),
        "latency_p99": percentile(side.latencies_s, 0.99),
        "outputs": {name: _spread(spread) for name, spread in side.outputs.items()},
    }


def _spread(spread: Spread) -> Json:
    frequent = sorted(spread.top1.items(), key=lambda entry: -entry[1])[:CLASSES]
    return {
        "mean": spread.mean,
        "deviation": spread.deviation,
        "min": spread.least,
        "max": spread.most,
        "top1": {str(place): share for place, share in frequent},
    }


def _pairs(pairs: Sequence[Pair]) -> Json:
    found: dict[str, list[Difference]] = {}
    for pair in pairs:
        for one in pair.differences:
            found.setdefault(one.name, []).append(one)
    worst = sorted((pair for pair in pairs if not pair.agrees), key=lambda pair: -pair.max_abs)[:WORST]
    return {
        "count": len(pairs),
        "agreeing": sum(pair.agrees for pair in pairs),
        "outputs": {name: _together(differing) for name, differing in found.items()},
        "worst": [
            {"task_ids": pair.task_ids, "agrees": pair.agrees, "outputs": [asdict(one) for one in pair.differences]}
            for pair in worst
        ],
    }


def _together(found: Sequence[Difference]) -> Json:
    largest = [one.max_abs for one in found if one.max_abs is not None]
    return {
        "max_abs": max(largest, default=None),
        "mean_abs": _mean([one.mean_abs for one in found]),
        "cosine": _mean([one.cosine for one in found]),
        "top1_agreement": _mean([one.top1_agreement for one in found]),
        "equal_share": _mean([one.equal_share for one in found]),
    }


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None


def _less(sides: Sequence[Mapping[str, Any]], name: str) -> str | None:
    """Whose figure is less; None where they are equal or one is not known."""
    first, second = (side[name] for side in sides)
    if first is None or second is None or first == second:
        return None
    return str(sides[0 if first < second else 1]["name"])


def _text(columns: Sequence[str], rows: Sequence[Mapping[str, Any]]) -> str:
    cells = [list(columns), *([_cell(row.get(column)) for column in columns] for row in rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    return "".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() + "\n" for line in cells
    )


def _cell(value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:.6g}" if isinstance(value, float) else str(value)
