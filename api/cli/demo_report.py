"""What the demo shows at the end: the figures, a few predictions, what happened and what to do next."""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from api.cli import output
from api.cli.demo_load import Answered
from inference.clock import from_iso

SHADES = " .:-=+*#%@"
SAMPLE = 8
COLUMNS = {
    "label": "LABEL",
    "predicted": "PREDICTED",
    "verdict": "",
    "kind": "SENT AS",
    "priority": "PRIORITY",
    "latency_ms": "LATENCY ms",
    "batch_size": "RAN WITH",
    "task_id": "ID",
}


def percentile(values: Sequence[float], share: float) -> float:
    """The smallest value that at least `share` of the values do not exceed (nearest rank)."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(round(share * len(ordered), 9)) - 1)]


def figures(answers: Sequence[Answered], *, model: str, setup_s: float) -> dict[str, Any]:
    """Everything by the server's own times: rate from first submission to last completion, latency per job."""
    tasks = [answer.task for answer in answers]
    first = min(from_iso(task["created_at"]) for task in tasks)
    last = max(from_iso(task["completed_at"]) for task in tasks)
    latencies_ms = [float(task["latency"]) * 1000 for task in tasks]
    sizes = Counter(int(task["batch_size"]) for task in tasks)
    right = sum(answer.predicted == answer.picture.label for answer in answers)
    return {
        "model": model,
        "accuracy": round(right / len(answers), 4),
        "jobs": len(answers),
        "single_jobs": sum(not answer.is_batch for answer in answers),
        "jobs_per_s": round(len(answers) / max(last - first, 1e-6), 1),
        "p50_ms": round(percentile(latencies_ms, 0.50), 2),
        "p95_ms": round(percentile(latencies_ms, 0.95), 2),
        "max_batch": max(sizes),
        "batch_sizes": {str(size): sizes[size] for size in sorted(sizes)},
        "setup_s": round(setup_s, 2),
    }


def draw(answers: Sequence[Answered], shown: Mapping[str, Any]) -> None:
    """The tables, on stdout."""
    from rich.columns import Columns
    from rich.text import Text

    screen = output.console()
    pictures = [answers[0], next((a for a in answers if a.predicted != a.picture.label), answers[-1])]
    drawn = [
        Text(f"{ascii_picture(a.picture.pixels)}\nlabel {a.picture.label}, predicted {a.predicted}") for a in pictures
    ]
    screen.print()
    screen.print(Columns(drawn, padding=(0, 6)))
    screen.print()
    output.table(COLUMNS, [_row(answer) for answer in sample(answers)], nothing="")
    screen.print()
    output.fields(
        {
            "accuracy": f"{float(shown['accuracy']):.1%} of {shown['jobs']} images that the model was not trained on",
            "jobs": f"{shown['jobs']}: {shown['single_jobs']} single, the others in batches, priorities 0 to 9",
            "rate": f"{shown['jobs_per_s']} jobs/s from the first submission to the last answer",
            "latency": f"p50 {shown['p50_ms']} ms, p95 {shown['p95_ms']} ms, waiting in the queue included",
            "batch sizes": sizes_line(shown["batch_sizes"]),
            "set-up": f"{shown['setup_s']} s from nothing to a running service",
        }
    )


def _row(answer: Answered) -> dict[str, Any]:
    return {
        "label": answer.picture.label,
        "predicted": answer.predicted,
        "verdict": "right" if answer.predicted == answer.picture.label else "wrong",
        "kind": "batch" if answer.is_batch else "single",
        "priority": answer.priority,
        "latency_ms": f"{float(answer.task['latency']) * 1000:.1f}",
        "batch_size": answer.task["batch_size"],
        "task_id": answer.task["task_id"],
    }


def draw_end(shown: Mapping[str, Any]) -> None:
    """What just happened, and what to do next."""
    lines = [
        "",
        "What just happened: every image went in over HTTP and was committed to SQL before its 202. A doorbell over",
        "Celery woke the worker; it claimed waiting jobs by priority, ran them in batches, and wrote each answer once.",
        "",
    ]
    if "urls" in shown:
        lines.append("The system is still running:")
        lines += [f"  {name:10} {url}" for name, url in shown["urls"].items()]
        lines += ["", "Try it:  ./penstock job list --data-dir " + shown["data_dir"]]
        lines += [f"Stop it: ./penstock down --data-dir {shown['data_dir']}"]
        lines += [f"         (its data stays in {shown['data_dir']})"]
    else:
        lines += ["Everything is stopped. Next:"]
        lines += ["  ./penstock demo --keep    the same, left running, with its URLs"]
        lines += ["  ./penstock up             your own system; README.md walks through it with curl"]
    print("\n".join(lines))


def sample(answers: Sequence[Answered]) -> list[Answered]:
    """A few of each kind, spread over the run, wrong ones first to be seen."""
    wrong = [answer for answer in answers if answer.predicted != answer.picture.label][:2]
    step = max(1, len(answers) // (SAMPLE - len(wrong)))
    right = [answer for answer in answers[::step] if answer not in wrong]
    return [*right[: SAMPLE - len(wrong)], *wrong]


def sizes_line(sizes: Mapping[str, int]) -> str:
    """`64 jobs in batches of 32, ...`, the commonest first, the rest counted."""
    ordered = sorted(sizes.items(), key=lambda item: -item[1])
    shown = ", ".join(f"{size} ({count} jobs)" for size, count in ordered[:5])
    return f"{shown}; {len(ordered) - 5} other sizes" if len(ordered) > 5 else shown


def ascii_picture(pixels: Sequence[Sequence[float]]) -> str:
    """Two characters a pixel, so that it looks square; scaled to its brightest pixel."""
    brightest = max((value for row in pixels for value in row), default=0) or 1
    top = len(SHADES) - 1
    return "\n".join("".join(SHADES[round(value / brightest * top)] * 2 for value in row) for row in pixels)
