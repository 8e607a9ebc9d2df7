"""Multi-process metrics: where the processes of one kind keep their figures."""

import os
from pathlib import Path


def share(folder: Path) -> None:
    """Makes this process, and those it starts, keep their figures in `folder`.

    Call it before `telemetry.metrics` is imported: prometheus-client looks once, when a metric is made.
    """
    folder.mkdir(parents=True, exist_ok=True)
    os.environ["PROMETHEUS_MULTIPROC_DIR"] = str(folder)
