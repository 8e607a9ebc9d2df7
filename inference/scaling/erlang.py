"""Queueing formulas: how many servers a rate needs so that hardly anybody waits too long."""

import math


def waits(servers: int, load: float) -> float:
    """The share of arrivals that must wait at all (0 to 1) when `load` (rate times work) meets so many servers.

    Erlang's C formula by way of the recursion for B, which neither overflows nor takes factorials.
    Source: A. K. Erlang 1917; the recursion as in R. B. Cooper, Introduction to Queueing Theory, 2nd ed., section 3.4.
    """
    if load <= 0:
        return 0.0
    if servers <= load:
        return 1.0
    blocked = 1.0
    for n in range(1, servers + 1):
        blocked = load * blocked / (n + load * blocked)
    return servers * blocked / (servers - load * (1.0 - blocked))


def late_share(servers: int, load: float, *, work_s: float, patience_s: float, variability: float = 1.0) -> float:
    """The share of arrivals that wait longer than `patience_s`.

    M/M/c: C(c, a) exp(-(c - a) t / work). Allen and Cunneen scale the waits of M/M/c by half the sum of the squared
    coefficients of variation of arrivals and work to come near G/G/c; `variability` is that half sum.
    Source: A. O. Allen, Probability, Statistics and Queueing Theory, 2nd ed. 1990, section 5.3.
    """
    if load <= 0:
        return 0.0
    if servers <= load:
        return 1.0
    waiting = waits(servers, load)
    return waiting * math.exp(-(servers - load) * max(0.0, patience_s) / (work_s * max(variability, 1e-6)))


def staff(load: float, *, work_s: float, patience_s: float, late: float, variability: float = 1.0) -> int:
    """The fewest servers with which no larger share than `late` waits longer than `patience_s`; 0 without load."""
    if load <= 0:
        return 0
    servers = math.floor(load) + 1
    while late_share(servers, load, work_s=work_s, patience_s=patience_s, variability=variability) > late:
        servers += 1
    return servers
