"""A sleep that a signal handler may end."""

import signal
import time

from workers.alarm import Alarm


def test_a_ring_before_the_wait_is_not_lost_and_counts_once():
    alarm = Alarm()

    alarm.ring()
    alarm.ring()

    assert [alarm.wait(5), alarm.wait(0)] == [True, False]


def test_a_signal_handler_ends_the_wait():
    alarm = Alarm()
    before = signal.signal(signal.SIGALRM, lambda *_: alarm.ring())
    began = time.monotonic()

    signal.setitimer(signal.ITIMER_REAL, 0.02)
    is_rung = alarm.wait(5)

    signal.signal(signal.SIGALRM, before)
    assert is_rung
    assert time.monotonic() - began < 2


def test_rings_that_nobody_hears_do_not_block():
    alarm = Alarm()

    for _ in range(70_000):
        alarm.ring()

    assert alarm.wait(0)
