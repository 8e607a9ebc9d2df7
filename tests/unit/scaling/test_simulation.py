"""The simulation that judges policies: that its fleet does what a real one does."""

import pytest

from benchmarks.scaling import simulate, trace
from benchmarks.scaling.fixed import Fixed
from benchmarks.scaling.keda import KedaList
from benchmarks.scaling.knative import KnativeKpa
from benchmarks.scaling.ours import Ours
from benchmarks.scaling.ray import RayDefault
from benchmarks.scaling.sagemaker import SageMakerBacklog
from benchmarks.scaling.simulate import Fleet
from inference.scaling.model import Limits
from inference.scaling.policies import POLICIES


def jobs(*pairs: tuple[float, float]) -> trace.Trace:
    return trace.Trace(name="made", at_s=[at for at, _ in pairs], work_s=[work for _, work in pairs])


class Follows:
    """Asks for what a list says, second by second."""

    every_s = 1.0

    def __init__(self, first: int, *wanted: int) -> None:
        self.first, self._wanted = first, list(wanted)

    def wanted(self, fleet: Fleet) -> int:
        return self._wanted.pop(0) if len(self._wanted) > 1 else self._wanted[0]


def test_jobs_wait_in_line_for_the_one_instance():
    outcome = simulate.run(jobs((0, 2), (0.5, 2), (1, 2)), Fixed(first=1), start_s=0.0, objectives=(2.0, 3.5, 5.0))

    assert outcome.attained == {2.0: 1 / 3, 3.5: 2 / 3, 5.0: 1.0}


def test_an_instance_takes_jobs_after_its_start_and_costs_from_the_wish_on():
    outcome = simulate.run(jobs((0, 1), (0, 1)), Follows(0, 1), start_s=10.0, objectives=(11.0, 12.0))

    assert outcome.attained == {11.0: 0.5, 12.0: 1.0}
    assert outcome.worker_hours == pytest.approx(12 / 3600)


def test_scaling_in_lets_a_running_job_finish_and_pays_for_it():
    outcome = simulate.run(jobs((0, 5), (0, 3)), Follows(2, 2, 0), start_s=10.0, objectives=(5.0,))

    assert outcome.killed == 0
    assert outcome.attained == {5.0: 1.0}
    assert outcome.worker_hours == pytest.approx(8 / 3600)


def test_a_fleet_that_interrupted_a_job_would_be_found_out():
    fleet = Fleet(jobs((0, 5)), start_s=0.0, first=1)

    fleet.advance(1.0)
    fleet.busy[0] = (2.0, 0)
    fleet.advance(10.0)

    assert fleet.killed() == 1


def test_an_instance_that_was_to_go_stays_when_it_is_wanted_again():
    fleet = Fleet(jobs((0, 5)), start_s=60.0, first=1)
    fleet.advance(1.0)

    fleet.scale(0)
    fleet.scale(1)

    assert (fleet.ready, len(fleet.starting)) == (1, 0)


def test_jobs_that_nobody_will_ever_take_are_an_error():
    with pytest.raises(RuntimeError, match="never done"):
        simulate.run(jobs((0, 1)), Follows(0, 0), start_s=1.0, objectives=(1.0,))


@pytest.mark.parametrize("make", [RayDefault, KedaList, KnativeKpa, SageMakerBacklog])
def test_every_rival_grows_under_a_long_overload_kills_nothing_and_shrinks_after_it(make):
    """Four instances' work for twenty minutes, then a little for forty."""
    busy = [(0.25 * n, 1.0) for n in range(4_800)]
    quiet = [(1200.0 + 10 * n, 0.1) for n in range(240)]

    outcome = simulate.run(jobs(*busy, *quiet), make(), start_s=5.0, objectives=(60.0,))

    assert outcome.most >= 4
    assert outcome.killed == 0
    assert outcome.scale_ins > 0


@pytest.mark.parametrize("name", POLICIES)
def test_our_policies_drain_a_burst_kill_nothing_and_shrink_after_it(name):
    burst = [(30.0 + 0.05 * n, 1.0) for n in range(200)]
    quiet = [(60.0 + 10 * n, 0.1) for n in range(120)]
    scaler = Ours(POLICIES[name], Limits(min_instances=1, max_instances=50, objective_s=30.0), start_s=5.0)

    outcome = simulate.run(jobs((0.0, 1.0), *burst, *quiet), scaler, start_s=5.0, objectives=(30.0,))

    assert outcome.attained[30.0] > 0.99 or name == "thresholds"
    assert outcome.killed == 0
    assert outcome.scale_ins > 0


def test_a_service_that_may_rest_wakes_for_a_job_and_rests_again():
    scaler = Ours(POLICIES["slo_drain"], Limits(min_instances=0, max_instances=5, objective_s=30.0), start_s=5.0)

    outcome = simulate.run(jobs((100.0, 1.0), (1000.0, 1.0)), scaler, start_s=5.0, objectives=(6.9, 7.1))

    assert outcome.attained[7.1] == 1.0
    assert outcome.worker_hours * 3600 == pytest.approx(60 + 300 + 6, abs=3)


def test_what_a_policy_remembers_serves_the_next_day():
    """The same burst twice: the first day finds one instance that starts too slowly, the second day enough."""
    burst = jobs((0.0, 1.0), *((100.0 + 0.02 * n, 1.0) for n in range(200)), (400.0, 1.0))
    allowed = Limits(min_instances=1, max_instances=100, objective_s=10.0)
    first_day = Ours(POLICIES["slo_drain"], allowed, start_s=60.0)

    unknown = simulate.run(burst, first_day, start_s=60.0, objectives=(10.0,))
    known = simulate.run(
        burst, Ours(POLICIES["slo_drain"], allowed, start_s=60.0, before=first_day), start_s=60.0, objectives=(10.0,)
    )

    assert unknown.attained[10.0] < 0.2
    assert known.attained[10.0] > 0.99


def test_a_trace_of_another_form_is_refused_with_its_name(tmp_path):
    file = tmp_path / "other.csv"
    file.write_text("a,b\n1,2\n")

    with pytest.raises(ValueError, match=r"other\.csv"):
        trace.read(file)


def test_the_committed_trace_is_what_its_description_says():
    played = trace.read(trace.AZURE)

    assert len(played.at_s) == 8_819
    assert played.busiest(10.0) / 10 == pytest.approx(32.7)
    assert sum(played.work_s) / 8_819 == pytest.approx(0.928, abs=0.001)
