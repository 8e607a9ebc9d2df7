"""The demo's clients: many single jobs and batches at once, mixed priorities, every answer read back by its id."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from functools import partial
from typing import Any

from api.cli.client import Client
from api.cli.demo_digits import Picture, predicted
from api.cli.failure import CallFailed

CLIENTS = 8
BATCH = 40
SINGLE_SHARE = 0.4


@dataclass(frozen=True, slots=True, kw_only=True)
class Parcel:
    """What one request carries: pictures by their place in the list. More than one: a batch."""

    places: tuple[int, ...]
    priority: int
    is_batch: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Answered:
    """A picture, the job that carried it, and what `GET /tasks/{id}` said in the end."""

    picture: Picture
    is_batch: bool
    priority: int
    task: dict[str, Any]

    @property
    def predicted(self) -> int:
        return predicted(self.task["result"])


def plan(count: int) -> list[Parcel]:
    """Every picture exactly once: part as single jobs, the rest in batches, priorities 0 to 9 in turn."""
    singles = round(count * SINGLE_SHARE)
    parcels = [Parcel(places=(place,), priority=place % 10, is_batch=False) for place in range(singles)]
    for number, start in enumerate(range(singles, count, BATCH)):
        places = tuple(range(start, min(start + BATCH, count)))
        parcels.append(Parcel(places=places, priority=number * 3 % 10, is_batch=True))
    mixed, batches = parcels[:singles], parcels[singles:]
    step = max(1, singles // max(1, len(batches)))
    for number, batch in enumerate(batches):
        mixed.insert(number * (step + 1), batch)
    return mixed


def run(
    client: Client,
    service_id: str,
    pictures: Sequence[Picture],
    *,
    on_submitted: Callable[[int], None],
    on_answered: Callable[[int], None],
) -> list[Answered]:
    """Submits everything, then reads every answer by its id, in the order of the pictures. Raises CallFailed."""
    pool = ThreadPoolExecutor(CLIENTS)
    try:
        parcels = plan(len(pictures))
        sent: dict[int, tuple[Parcel, str]] = {}
        for parcel, task_ids in _each(
            pool, [partial(_send, client, service_id, parcel, pictures) for parcel in parcels]
        ):
            sent.update({place: (parcel, task_id) for place, task_id in zip(parcel.places, task_ids, strict=True)})
            on_submitted(len(task_ids))
        answers: dict[int, Answered] = {}
        reads = [partial(_read, client, place, *sent[place], pictures[place]) for place in sorted(sent)]
        for place, answered in _each(pool, reads):
            answers[place] = answered
            on_answered(1)
    finally:
        pool.shutdown(wait=False, cancel_futures=True)  # after Ctrl-C nobody waits for a long poll
    return [answers[place] for place in sorted(answers)]


def _each(pool: ThreadPoolExecutor, works: Sequence[Callable[[], Any]]) -> Iterator[Any]:
    for done in as_completed([pool.submit(work) for work in works]):
        yield done.result()


def _send(client: Client, service_id: str, parcel: Parcel, pictures: Sequence[Picture]) -> tuple[Parcel, list[str]]:
    inputs = [pictures[place].input_data for place in parcel.places]
    if parcel.is_batch:
        body = client.submit_batch(service_id, {"input_data_list": inputs, "priority": parcel.priority})
        return parcel, list(body["task_ids"])
    body = client.submit(service_id, {"input_data": inputs[0], "priority": parcel.priority})
    return parcel, [body["task_id"]]


def _read(client: Client, place: int, parcel: Parcel, task_id: str, picture: Picture) -> tuple[int, Answered]:
    """The finished task. Raises CallFailed when it is not over within two minutes or did not complete."""
    task: dict[str, Any] = {}
    for _ in range(4):
        task = client.job(task_id, wait_s=30)
        if task["status"] not in ("pending", "running"):
            break
    if task["status"] != "completed":
        raise CallFailed(f"Job {task_id} is {task['status']}, not completed.", code="job_not_completed", details=task)
    return place, Answered(picture=picture, is_batch=parcel.is_batch, priority=parcel.priority, task=task)
