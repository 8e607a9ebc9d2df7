"""Multi-process metrics: where the processes of one kind keep their figures."""

import os
import sys
from pathlib import Path


def share(folder: Path) -> None:
    """Makes this process, and those it starts, keep their figures in `folder`.

    Call it before the first figure: what was counted earlier in this process is forgotten.
    """
    folder.mkdir(parents=True, exist_ok=True)
    os.environ["PROMETHEUS_MULTIPROC_DIR"] = str(folder)
    if "prometheus_client" in sys.modules:
        _begin_anew()


def _begin_anew() -> None:
    """prometheus-client looks where to keep figures when it is imported; a forked process finds it imported."""
    from prometheus_client import REGISTRY, values
    from prometheus_client.metrics import MetricWrapperBase

    kind = values.get_value_class()  # type: ignore[no-untyped-call]  # the library's own gap
    vars(values)["ValueClass"] = kind
    for metric in set(REGISTRY._names_to_collectors.values()):
        if isinstance(metric, MetricWrapperBase) and metric._is_observable():  # type: ignore[no-untyped-call]
            metric._metric_init()  # type: ignore[no-untyped-call]
