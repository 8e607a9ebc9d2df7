"""Claimed jobs become one engine call, and its outputs an outcome each."""

import numpy as np
import orjson
import pytest

from inference.engines import hooks
from inference.errors import OutOfMemory, RunStopped
from inference.jobs import execute
from inference.jobs.model import ClaimedJob, JobState
from inference.settings import JobsSettings
from inference.tensors import NanPolicy, pack

NO_HOOKS = hooks.compile({})


def claimed(name, values, *, attempt=1, payload=None):
    return ClaimedJob(
        id=name,
        tenant_id="default",
        attempt=attempt,
        max_attempts=3,
        priority=0,
        bucket="",
        rows=len(values),
        crashes=0,
        submitted_at=1.0,
        claimed_at=2.0,
        deadline=None,
        timeout_s=5.0,
        metadata_json=None,
        payload=payload or pack({"x": np.array(values, dtype=np.float32)}),
    )


class Doubler:
    """Doubles; refuses any call that holds `poison`, and calls of more rows than `room`."""

    provider = "cpu"

    def __init__(self, poison=None, room=10_000):
        self.poison, self.room, self.calls = poison, room, []

    def run(self, inputs):
        rows = inputs["x"]
        self.calls.append(len(rows))
        if self.poison is not None and (rows == self.poison).any():
            raise ValueError("poison\0")
        if len(rows) > self.room:
            raise OutOfMemory("too many rows")
        return {"y": rows * 2}


def run(jobs, engine, **options):
    batch = execute.prepare(jobs, NO_HOOKS)
    outcomes = execute.run(
        batch, execute.Call(engine=engine, hooks=NO_HOOKS, now_s=lambda: 3.0, settings=JobsSettings(), **options)
    )
    return {outcome.job.id: outcome for outcome in outcomes}


def test_each_job_gets_its_own_rows_back():
    engine = Doubler()

    outcomes = run([claimed("a", [[1.0]]), claimed("b", [[2.0], [3.0]])], engine)

    assert engine.calls == [3]
    assert orjson.loads(outcomes["a"].result) == {"y": [[2.0]]}
    assert orjson.loads(outcomes["b"].result) == {"y": [[4.0], [6.0]]}
    assert {o.batch_size for o in outcomes.values()} == {2}


def test_only_the_job_that_the_engine_refuses_fails():
    outcomes = run([claimed(str(i), [[float(i)]]) for i in range(8)], Doubler(poison=5))

    failed = {name for name, outcome in outcomes.items() if outcome.state is JobState.FAILED}
    assert failed == {"5"}
    assert outcomes["5"].error_code == "engine_failed"
    assert outcomes["5"].error_message == "ValueError: poison"


def test_a_batch_that_runs_out_of_memory_is_halved():
    engine = Doubler(room=2)

    outcomes = run([claimed(str(i), [[float(i)]]) for i in range(8)], engine)

    assert {outcome.state for outcome in outcomes.values()} == {JobState.COMPLETED}
    assert engine.calls == [8, 4, 2, 2, 4, 2, 2]


def test_a_single_row_without_room_goes_back_for_another_try():
    outcomes = run([claimed("a", [[1.0]])], Doubler(room=0))

    assert outcomes["a"].state is JobState.PENDING
    assert outcomes["a"].error_code == "out_of_memory"


def test_a_payload_that_cannot_be_read_harms_no_mate():
    jobs = [claimed("a", [[1.0]]), claimed("torn", [[1.0]], payload=b"\xff\x00"), claimed("c", [[3.0]])]

    outcomes = run(jobs, Doubler())

    assert outcomes["torn"].state is JobState.FAILED
    assert {outcomes[name].state for name in ("a", "c")} == {JobState.COMPLETED}


def test_answers_that_are_not_numbers_stay_valid_json():
    class Odd(Doubler):
        def run(self, inputs):
            return {"y": np.array([[np.nan, np.inf]], dtype=np.float32)}

    outcomes = run([claimed("a", [[1.0]])], Odd())

    assert orjson.loads(outcomes["a"].result) == {"y": [[None, None]]}


class Stopped(Doubler):
    """Calls that hold `poison` are stopped from outside, the others end."""

    def run(self, inputs):
        rows = inputs["x"]
        self.calls.append(len(rows))
        if (rows == self.poison).any():
            raise RunStopped("stopped")
        return {"y": rows * 2}


def run_watched(jobs, engine, limit_s):
    begun = []

    def begin(started):
        begun.append([job.id for job in started])
        return limit_s

    call = execute.Call(engine=engine, hooks=NO_HOOKS, now_s=lambda: 3.0, settings=JobsSettings(), begin=begin)
    outcomes = execute.run(execute.prepare(jobs, NO_HOOKS), call)
    return {outcome.job.id: outcome for outcome in outcomes}, begun


def test_a_call_that_is_stopped_before_its_time_leaves_its_jobs_without_an_outcome():
    engine = Stopped(poison=1)

    outcomes, begun = run_watched([claimed(str(i), [[float(i)]]) for i in range(4)], engine, 60.0)

    assert outcomes == {}
    assert begun == [["0", "1", "2", "3"]]


def test_a_call_that_is_stopped_after_its_time_fails_the_job_that_hung_alone():
    engine = Stopped(poison=1)

    outcomes, begun = run_watched([claimed(str(i), [[float(i)]]) for i in range(4)], engine, 0.0)

    assert {name for name, outcome in outcomes.items() if outcome.state is JobState.COMPLETED} == {"0", "2", "3"}
    assert (outcomes["1"].state, outcomes["1"].error_code) == (JobState.PENDING, "timed_out")
    assert begun == [["0", "1", "2", "3"], ["0", "1"], ["0"], ["1"], ["2", "3"]]


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_a_job_whose_output_holds_nan_fails_alone_when_its_model_says_so(dtype):
    class Narrow(Doubler):
        def run(self, inputs):
            return {"y": super().run(inputs)["y"].astype(dtype)}

    engine = Narrow()
    jobs = [claimed("a", [[1.0]]), claimed("b", [[np.nan]]), claimed("c", [[np.inf], [2.0]]), claimed("d", [[3.0]])]

    outcomes = run(jobs, engine, nan_policy=NanPolicy.FAIL)

    assert engine.calls == [5], "one call: nobody runs again"
    assert {name: one.state for name, one in outcomes.items()} == {
        "a": JobState.COMPLETED, "b": JobState.FAILED, "c": JobState.FAILED, "d": JobState.COMPLETED
    }  # fmt: skip
    assert outcomes["b"].error_code == "output_invalid"
    assert "`y`" in outcomes["b"].error_message
    assert orjson.loads(outcomes["d"].result) == {"y": [[6.0]]}


def test_nan_is_null_or_a_text_by_the_policy_of_the_model():
    jobs = [claimed("a", [[np.nan], [1.0], [np.inf], [-np.inf]])]

    as_null = run(jobs, Doubler())["a"].result
    as_text = run(jobs, Doubler(), nan_policy=NanPolicy.PASS)["a"].result

    assert as_null == b'{"y":[[null],[2.0],[null],[null]]}'
    assert as_text == b'{"y":[["NaN"],[2.0],["Infinity"],["-Infinity"]]}'
