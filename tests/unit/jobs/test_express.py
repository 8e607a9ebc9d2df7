"""Two lanes in one drain: shares, turns, and what becomes of either when something goes wrong."""

import dataclasses
import itertools
import time

import msgspec
import pytest

from inference.access.model import ANYBODY
from inference.errors import HotUnavailable, WrongState
from inference.jobs import express
from inference.jobs.drain import Drain, Ended
from inference.jobs.express_model import ExpressJob, Taken
from inference.jobs.express_side import tell_lost
from inference.jobs.model import Claim, JobSpec, JobState
from inference.serving.model import Service, ServiceConfig
from inference.serving.model import ServiceState as S
from tests.fakes_jobs import bare_ports
from tests.unit.jobs.test_drain import Hands, Hot, NoService, Queue, jobs


@pytest.mark.parametrize(
    ("jobs_rows", "share", "room"),
    [(0, 0.5, 64), (10, 0.5, 54), (64, 0.5, 32), (64, 0.25, 16), (200, 0.5, 32), (64, 0.01, 1)],
)
def test_the_express_lane_has_its_share_and_what_jobs_leave(jobs_rows, share, room):
    assert express.express_room(64, share=share, jobs_rows=jobs_rows) == room


@pytest.mark.parametrize(
    ("express_rows", "share", "room"), [(1, 0.5, 63), (32, 0.5, 32), (64, 0.5, 32), (64, 0.99, 1), (10, 0.99, 54)]
)
def test_jobs_have_their_share_and_what_the_express_lane_leaves(express_rows, share, room):
    assert express.jobs_room(64, share=share, express_rows=express_rows) == room


def predictions(count, **changes):
    """As many as are asked for, from one asker."""
    plain = {name: getattr(job, name) for job in jobs(1) for name in job.__struct_fields__}
    made = [ExpressJob(**{**plain, "id": f"e{i:03}", "asker": "a"}) for i in range(count)]
    return [msgspec.structs.replace(one, **changes) for one in made]


def test_lanes_share_a_batch_only_where_that_harms_nobody():
    mine, theirs = predictions(2), jobs(2)
    suspects = [msgspec.structs.replace(job, attempt=2) for job in theirs]
    others = [msgspec.structs.replace(job, bucket="other") for job in theirs]

    assert express.turns(theirs, mine, max_rows=4) == ((*mine, *theirs),)
    assert express.turns(theirs, mine, max_rows=3) == (tuple(mine), tuple(theirs))
    assert express.turns(suspects, mine, max_rows=4) == (tuple(mine), tuple(suspects))
    assert express.turns(others, mine, max_rows=4) == (tuple(mine), tuple(others))
    assert express.turns(theirs, (), max_rows=4) == (tuple(theirs),)


class Lane:
    """An express lane in memory; `refill` keeps so many waiting."""

    def __init__(self, waiting=(), refill=0):
        self.waiting_now, self.told, self.refill = list(waiting), [], refill
        self.is_away, self.numbers, self.rings = False, itertools.count(), False

    def exchange(self, service_id, *, told, max_rows, now, holder):
        if self.is_away:
            raise HotUnavailable("away", part="redis")
        self.tell(told)
        for one in predictions(self.refill - len(self.waiting_now)):
            self.waiting_now.append(msgspec.structs.replace(one, id=f"r{next(self.numbers):05}"))
        taken, self.waiting_now = self.waiting_now[:max_rows], self.waiting_now[max_rows:]
        is_woken, self.rings = self.rings, False
        return Taken(jobs=tuple(taken), left=len(self.waiting_now), is_woken=is_woken)

    def tell(self, told):
        self.told += [one for answers in told.values() for one in answers]

    def waiting(self, service_id):
        return len(self.waiting_now)

    def lost(self, holder):
        return 1


class Store(Queue):
    """Remembers what was used, and how often it was asked for jobs."""

    asked, used = 0, ()

    def claim(self, by, **limits):
        self.asked += 1
        return super().claim(by, **limits)

    def add_usage(self, by, used):
        self.used = (*self.used, *used)


def drained(store, lane, hands, *, seconds=60.0, looks=True):
    ports = bare_ports(store, hot=Hot(), directory=NoService(), express=lane)
    drain = Drain(ports, hands, "default")
    ended = drain.work(until_s=time.monotonic() + seconds, looks=looks)
    drain.rest()
    return ended


@pytest.mark.parametrize("ahead", [False, True])
def test_both_lanes_are_run_to_their_end_and_everybody_is_told(ahead):
    store, lane, hands = Store(jobs(23)), Lane(predictions(10)), Hands(ahead=ahead)

    ended = drained(store, lane, hands)

    assert ended is Ended.EMPTY
    assert [told.id for told in lane.told] == [f"e{i:03}" for i in range(10)]
    assert {told.result for told in lane.told} == {b"{}"}
    assert len(store.finished) == 23
    assert not any(name.startswith("e") for name in store.finished)
    assert sum(used[3] for used in store.used) == 10


@pytest.mark.parametrize("ahead", [False, True])
def test_neither_lane_starves_the_other(ahead):
    store, lane, hands = Store(jobs(400)), Lane(refill=20), Hands(max_rows=8, ahead=ahead)
    hands.on_run = lambda: setattr(hands, "stopping", len(store.finished) >= 200)

    drained(store, lane, hands)

    assert 0.4 <= len(lane.told) / (len(lane.told) + len(store.finished)) <= 0.6
    for batch in hands.ran[2:-3]:  # the first claim did not know of the other lane
        assert len({name[0] for name in batch}) == 2, "half of each"


@pytest.mark.parametrize("crashes", [0, 1])
def test_a_few_jobs_and_suspects_come_between_more_predictions_than_a_batch_holds(crashes):
    class Later(Store):
        def claim(self, by, *, is_ahead=False, **limits):
            self.asked += 1
            return Claim() if is_ahead and crashes else Queue.claim(self, by, is_ahead=is_ahead, **limits)

    store, lane, hands = Later(jobs(3)), Lane(refill=50), Hands(max_rows=8, ahead=True)
    lane.rings = True
    hands.on_run = lambda: setattr(hands, "stopping", len(lane.told) >= 400 or len(store.finished) == 3)

    drained(store, lane, hands, looks=False)

    assert len(store.finished) == 3
    assert len(lane.told) < 100


def test_predictions_alone_hardly_ask_the_database():
    store, lane, hands = Store([]), Lane(predictions(200)), Hands()

    drained(store, lane, hands, looks=False)

    assert len(lane.told) == 200
    assert store.asked <= 2


def test_a_refused_prediction_is_told_why_and_harms_no_job():
    class Picky(Hands):
        def run(self, batch):
            return [
                outcome
                if not isinstance(outcome.job, ExpressJob)
                else msgspec.structs.replace(
                    outcome, state=JobState.FAILED, result=None, error_code="engine_failed", error_message="No."
                )
                for outcome in super().run(batch)
            ]

    store, lane = Store(jobs(2)), Lane(predictions(1))

    drained(store, lane, Picky())

    assert [(told.error_code, told.error_message, told.result) for told in lane.told] == [
        ("engine_failed", "No.", None)
    ]
    assert len(store.finished) == 2


def test_an_engine_that_was_stopped_refuses_predictions_and_gives_jobs_back():
    class Stopped(Hands):
        def run(self, batch):
            self.stopping = True
            return []

    store, lane = Store(jobs(2)), Lane(predictions(2))

    drained(store, lane, Stopped())

    assert [told.error_code for told in lane.told] == ["instance_lost"] * 2
    assert sorted(store.released) == ["000", "001"]


def test_jobs_go_on_without_redis():
    store, lane = Store(jobs(9)), Lane()
    lane.is_away = True

    drained(store, lane, Hands())

    assert len(store.finished) == 9


def test_predictions_go_on_without_the_database():
    class Away(Store):
        def claim(self, by, **limits):
            raise HotUnavailable("away", part="sql")

        def add_usage(self, by, used):
            raise HotUnavailable("away", part="sql")

    lane = Lane(predictions(9))

    drained(Away([]), lane, Hands())

    assert len(lane.told) == 9


def test_a_new_process_tells_what_the_one_before_it_died_with():
    ports = dataclasses.replace(_ports(Lane()))

    assert tell_lost(ports, "i") == 2
    assert tell_lost(dataclasses.replace(ports, express=None), "i") == 0


class Open:
    """Admission and places for anybody."""

    def admit(self, by, *, jobs, payload_bytes):
        assert (jobs, payload_bytes) == (0, 0), "nothing is stored"

    def places(self, by, service, specs, *, now):
        return [now]


def _ports(lane):
    return bare_ports(Store([]), admission=Open(), fair=Open(), hot=Hot(), directory=NoService(), express=lane)


def service(state=S.RUNNING, **config):
    return Service(
        id="s",
        tenant_id="default",
        name="n",
        model_id="m",
        state=state,
        config=ServiceConfig(**config),
        revision=1,
        created_at=0.0,
        updated_at=0.0,
    )


@pytest.mark.parametrize(
    ("timeout_s", "deadline", "most_s", "ends"),
    [(None, None, 60.0, 40.0), (5.0, None, 60.0, 15.0), (500.0, None, 60.0, 70.0), (5.0, 12.0, 60.0, 12.0)],
)
def test_nobody_waits_longer_than_they_said_or_may(timeout_s, deadline, most_s, ends):
    spec = JobSpec(payload=b"p", rows=1, bucket="3", timeout_s=timeout_s, deadline=deadline)

    asked = express.prepare(_ports(None), by=ANYBODY, service=service(timeout_s=30.0), spec=spec, most_s=most_s)

    assert asked.deadline == ends
    assert asked.timeout_s == 30.0, "the engine's limit is the service's"


@pytest.mark.parametrize(
    ("state", "queues", "advice"),
    [
        (S.PENDING, False, "start it with POST /services/s/start."),
        (S.STOPPED, False, "start it with POST /services/s/start."),
        (S.STOPPING, False, "start it with POST /services/s/start."),
        (S.STOPPED, True, "start it with POST /services/s/start, or send a task, which waits."),
        (S.DEPLOYING, False, "try again when it is running, or send a task, which waits."),
        (S.PREEMPTED, False, "try again when it has its device back, or send a task, which waits."),
        (S.ERROR, False, "correct what its reason names, then start it with POST /services/s/start."),
    ],
)
def test_a_service_that_does_not_run_predicts_nothing_and_says_what_can_be_done(state, queues, advice):
    spec, stopped = JobSpec(payload=b"p", rows=1, bucket="3"), service(state, queue_while_stopped=queues)

    with pytest.raises(WrongState) as refused:
        express.prepare(_ports(None), by=ANYBODY, service=stopped, spec=spec, most_s=60.0)

    assert refused.value.message == f"Service s is {state} and predicts nothing; {advice}"


def test_who_was_evicted_says_who_took_its_place():
    spec = JobSpec(payload=b"p", rows=1, bucket="3")
    evicted = dataclasses.replace(service(S.PREEMPTED), reason="preempted by service urgent (u)")

    with pytest.raises(WrongState, match=r"predicts nothing \(preempted by service urgent \(u\)\); try again"):
        express.prepare(_ports(None), by=ANYBODY, service=evicted, spec=spec, most_s=60.0)
