"""A queueing formula: how many servers a rate needs so that hardly anybody waits too long."""

import math


def late_share(servers: int, load: float, *, waits_s: float, patience_s: float) -> float:
    """The share of arrivals (0 to 1) that wait longer than `patience_s` when `load` meets so many servers.

    `load`: rate times work, in servers kept busy. `waits_s`: work times variability, see `staff`.
    """
    blocked = 1.0
    for n in range(1, servers + 1):
        blocked = load * blocked / (n + load * blocked)
    return _late(servers, load, blocked, waits_s=waits_s, patience_s=patience_s)


def staff(load: float, *, waits_s: float, patience_s: float, late: float, most: int) -> int:
    """The fewest servers with which no larger share than `late` waits longer than `patience_s`; `most` if none will do.

    Erlang's C formula, through the recursion for B, which neither overflows nor takes factorials, times the decay of
    waits in M/M/c: C(c, a) exp(-(c - a) t / work). Allen and Cunneen scale the waits of M/M/c by half the sum of the
    squared coefficients of variation of arrivals and of work to come near G/G/c: `waits_s` is work times that half sum.
    Sources: A. K. Erlang 1917; R. B. Cooper, Introduction to Queueing Theory, 2nd ed., section 3.4;
    A. O. Allen, Probability, Statistics and Queueing Theory, 2nd ed. 1990, section 5.3.
    """
    if load <= 0:
        return 0
    blocked = 1.0
    for n in range(1, most):
        blocked = load * blocked / (n + load * blocked)
        if _late(n, load, blocked, waits_s=waits_s, patience_s=patience_s) <= late:
            return n
    return most


def _late(servers: int, load: float, blocked: float, *, waits_s: float, patience_s: float) -> float:
    if load <= 0:
        return 0.0
    if servers <= load:
        return 1.0
    waiting = servers * blocked / (servers - load * (1.0 - blocked))
    return waiting * math.exp(-(servers - load) * patience_s / waits_s)
