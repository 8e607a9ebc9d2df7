"""What the node agent does about one replica: a table of figures and steps."""

import pytest

from inference.serving.model import Desired, Observed, Replica
from workers.node_decide import FIRST_DELAY_S, Figures, Limits, Step, decide, restart_delay_s
from workers.node_process import explain_exit

LIMITS = Limits(stop_grace_s=6, silence_s=20, load_deadline_s=120)


def row(observed=Observed.READY, desired=Desired.RUNNING):
    return Replica(
        id="r",
        service_id="s",
        ordinal=0,
        node_id="n",
        device="cpu",
        desired=desired,
        observed=observed,
        generation=1,
        revision=1,
        instances=1,
        instances_ready=0,
        load_failures=0,
        restarts=0,
    )


RUNNING, ABSENT = Figures(is_running=True), Figures(is_running=False)
TO_STOP = Desired.STOPPED


@pytest.mark.parametrize(
    ("replica", "figures", "step"),
    [
        (row(Observed.PENDING), ABSENT, Step.START),
        (row(Observed.PENDING), Figures(is_running=False, due_in_s=0.1), Step.WAIT),
        (row(Observed.FAILED), ABSENT, Step.WAIT),
        (row(Observed.READY), ABSENT, Step.START),
        (row(Observed.READY), RUNNING, Step.WAIT),
        (row(Observed.READY), Figures(is_running=True, silent_s=19), Step.WAIT),
        (row(Observed.READY), Figures(is_running=True, silent_s=20), Step.RESTART),
        (row(Observed.STARTING), Figures(is_running=True, silent_s=139), Step.WAIT),
        (row(Observed.STARTING), Figures(is_running=True, silent_s=140), Step.RESTART),
        (row(Observed.READY, TO_STOP), RUNNING, Step.STOP),
        (None, RUNNING, Step.STOP),
        (row(Observed.DRAINING, TO_STOP), Figures(is_running=True, asked_s=5), Step.WAIT),
        (row(Observed.DRAINING, TO_STOP), Figures(is_running=True, asked_s=6), Step.KILL),
        (None, Figures(is_running=True, asked_s=6), Step.KILL),
        (None, ABSENT, Step.FORGET),
        (row(Observed.READY, TO_STOP), ABSENT, Step.SETTLE),
        (row(Observed.STOPPED, TO_STOP), ABSENT, Step.WAIT),
        (row(Observed.PENDING, TO_STOP), ABSENT, Step.WAIT),
        (row(Observed.FAILED, TO_STOP), ABSENT, Step.WAIT),
    ],
)
def test_the_step_is_as_the_table_says(replica, figures, step):
    assert decide(replica, figures, LIMITS) is step


def test_waits_double_up_to_the_cap_and_begin_anew_after_a_healthy_life():
    waits = [FIRST_DELAY_S]
    for _ in range(8):
        waits.append(restart_delay_s(waits[-1], lived_s=1, cap_s=15))

    assert waits == [0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 12.8, 15, 15]
    assert restart_delay_s(15, lived_s=6, cap_s=15) == 0
    assert restart_delay_s(0, lived_s=0, cap_s=15) == FIRST_DELAY_S


@pytest.mark.parametrize(
    ("code", "text"),
    [
        (1, "The worker ended by itself with code 1."),
        (-9, "The worker was killed by SIGKILL."),
        (-99, "The worker was killed by signal 99."),
    ],
)
def test_an_exit_is_explained_in_a_sentence(code, text):
    assert explain_exit(code) == text
