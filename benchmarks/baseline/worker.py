"""The plain baseline's worker: one Celery task per job, one `session.run` per task, as the manuals show it."""

import os
import time
from typing import Any

from celery import Celery
from celery.signals import worker_init, worker_process_init

URL = os.environ["BASELINE_REDIS_URL"]

celery = Celery("baseline", broker=URL, backend=URL)
celery.conf.update(
    task_ignore_result=False,
    task_serializer="json",
    result_serializer="json",
    accept_content=["json"],
    result_expires=3600,
    task_acks_late=False,
    task_send_sent_event=False,
    worker_send_task_events=False,
    worker_prefetch_multiplier=int(os.environ.get("BASELINE_PREFETCH", "4")),
    broker_connection_retry_on_startup=True,
    worker_hijack_root_logger=False,
)

_session: Any = None


def _load(**_: Any) -> None:
    """Opens the model once per process."""
    global _session
    if _session is not None:
        return
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = int(os.environ.get("BASELINE_THREADS", "1"))
    options.inter_op_num_threads = 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    _session = onnxruntime.InferenceSession(os.environ["BASELINE_MODEL"], options, providers=["CPUExecutionProvider"])


if os.environ.get("BASELINE_POOL", "prefork") == "prefork":
    worker_process_init.connect(_load)
else:
    worker_init.connect(_load)


@celery.task(name="infer")  # type: ignore[untyped-decorator]  # Celery has no types
def infer(input_data: dict[str, list[Any]], submitted_at: float) -> dict[str, Any]:
    """The outputs of one job as nested lists, and how long it took since it was submitted."""
    import numpy

    feeds = {name: numpy.asarray(value, dtype=numpy.float32) for name, value in input_data.items()}
    values = _session.run(None, feeds)
    result = {output.name: value.tolist() for output, value in zip(_session.get_outputs(), values, strict=True)}
    return {"result": result, "latency": time.time() - submitted_at}
