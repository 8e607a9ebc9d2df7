"""The supervisor: a thread in the worker's parent that keeps leases, ends what hangs, and says how the replica is.

A thread, since Celery's own loop stands still while the broker is away.
"""

import contextlib
import dataclasses
import os
import signal
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import structlog

from inference.clock import monotonic_s
from inference.core import Core
from inference.errors import HotUnavailable, PenstockError
from inference.jobs.announce import announce
from inference.jobs.model import FINAL, Claimant
from inference.jobs.recover import ring_all
from inference.jobs.stopping import UnderWay, should_stop
from inference.redisio.client import RedisLink
from inference.redisio.slots import Slots
from inference.serving.model import Observed
from workers.pulse import READY, Field, Phase, Pulse, Record
from workers.resize import SURPLUS, Fit, Sizing

log = structlog.get_logger(__name__)

TICK_S = 0.25
OVERRUN_S = 1.0
LOOK_S = 0.5
"""How often cancellations are looked for, while engine calls are under way."""
DEAF_S = 0.75
"""How long a call that shall end has for it before its process is ended; with the rest it is less than two seconds."""
LEAVE_S = 2.0
"""What a worker that shall end keeps of its grace for giving back a batch that takes too long, and for going."""
REPORT_S = 5.0

LOAD_FAILED_EXIT = 3
SUPERSEDED_EXIT = 4
CHILDLESS_EXIT = 5
CHILDLESS_S = 10.0
"""Celery's loop replaces children that died, and stands still while the broker is away. A worker that has had none
for so long ends: the node agent starts another, whose children work without the broker."""
ORPHANED_S = 2.0
"""The same while Redis does not answer, for one that has had children: there is nothing to wait for."""
SHORT_S = 30.0
"""The same for a worker that misses some of its children; it ends when the others have finished their batch."""


@dataclass(frozen=True, slots=True)
class Seen:
    """What was known of a child at the last look."""

    pid: int
    phase: Phase
    instance_id: str
    generation: int
    slot: int
    token: str
    loads: int


class Supervisor(threading.Thread):
    """`stop` is called at most once, with the exit code with which the worker should end.

    `fit` is asked again and again until as many children are there as the pulse file says; without it, none come or go.
    """

    def __init__(
        self, core: Core, pulse: Pulse, *, slots: int, stop: Callable[[int], None], fit: Fit | None = None
    ) -> None:
        super().__init__(name="supervisor", daemon=True)
        self._core = core
        self._pulse, self._sizing, self.fit = pulse, Sizing(pulse, slots), fit
        self._records = [pulse.record(index) for index in range(slots)]
        self._seen: list[Seen | None] = [None] * slots
        self._died_loading = 0
        self._stop_worker = stop
        self._has_stopped = False
        self._link = RedisLink(core.settings, timeout_s=1.0)
        self._slots = Slots(self._link)
        self._renewed_at = self._reported_at = self._ready_at = 0.0
        self._reported: tuple[Observed, int] | None = None
        self._is_draining = False
        self._calls_end_at = float("inf")
        self._looked_at = 0.0
        self._stopping: dict[int, tuple[float, float]] = {}
        self._ended_blameless: set[int] = set()
        self._had_child_at = self._whole_at = monotonic_s()
        self._leaves_when_idle = self._had_children = False
        self._ended = threading.Event()

    def drain(self) -> None:
        """From now on children stop at the end of their batch; one that takes longer than the grace is given back."""
        self._is_draining = True
        grace_s = self._core.settings.workers.stop_grace_s
        self._calls_end_at = monotonic_s() + max(grace_s / 2, grace_s - LEAVE_S)
        for record in self._records:
            record.set(Field.IS_STOPPING, 1)

    def end(self) -> None:
        """No further tick begins."""
        self._ended.set()

    def run(self) -> None:
        while not self._ended.wait(TICK_S):
            try:
                self._tick()
            except PenstockError as error:
                log.warning("supervision_waits", reason=error.message)
            except Exception:
                log.exception("supervision_failed")

    def _tick(self) -> None:
        for index, record in enumerate(self._records):
            self._watch(index, record)
        if not self._is_draining:
            self._resize()
        now = monotonic_s()
        if self._is_draining or any(self._seen):
            self._had_child_at = now
            self._had_children = self._had_children or any(self._seen)
        elif self._is_orphaned(now - self._had_child_at):
            self._give_up(CHILDLESS_EXIT)
        self._mind_gaps(now)
        if now - self._looked_at >= LOOK_S:
            self._looked_at = now
            self._heed_cancels(now)
        if now >= self._calls_end_at:
            self._end_calls(now)
        if now - self._renewed_at >= self._core.settings.workers.renew_s:
            self._renew()
            self._renewed_at = now  # a store that was away is asked again in the next tick
        self._report(now)

    def _is_orphaned(self, childless_s: float) -> bool:
        if childless_s >= CHILDLESS_S:
            return True
        return self._had_children and childless_s >= ORPHANED_S and self._is_redis_away()

    def _mind_gaps(self, now: float) -> None:
        if self._leaves_when_idle:
            if all(record.phase in (Phase.IDLE, Phase.EMPTY, Phase.RESTED) for record in self._records):
                self._give_up(CHILDLESS_EXIT)
        elif sum(seen is not None for seen in self._seen) >= self._sizing.wanted or self._is_draining:
            self._whole_at = now
        elif now - self._whole_at >= SHORT_S:
            self._whole_at = now
            if any(self._seen) and self._is_redis_away():
                log.warning("child_not_replaced", children=sum(seen is not None for seen in self._seen))
                self.drain()
                self._leaves_when_idle = True

    def _resize(self) -> None:
        before, now = self._sizing.wanted, monotonic_s()
        living = {index: self._records[index] for index, seen in enumerate(self._seen) if seen is not None}
        self._sizing.tick(living, fit=self.fit)
        if self._sizing.wanted != before:
            self._whole_at = now
        for index in range(len(self._records), self._sizing.wanted):
            self._records.append(self._pulse.record(index))
            self._seen.append(None)

    def _is_redis_away(self) -> bool:
        try:
            self._link.ping()
        except HotUnavailable:
            return True
        return False

    def _watch(self, index: int, record: Record) -> None:
        """Ends a child that overran; settles the affairs of one that is gone."""
        before = self._seen[index]
        pid = int(record.get(Field.PID))
        if before is not None and (before.pid != pid or not is_alive(before.pid)):
            self._seen[index] = None
            has_loaded = record.get(Field.LOADS) > before.loads
            if before.pid == pid:
                before = _look(record)  # it may have gone on since the last look
                record.clear()
            elif has_loaded and before.phase is Phase.LOADING:
                before = dataclasses.replace(before, phase=Phase.IDLE)
            self._bury(before, record)
            return
        if not pid:
            return
        self._seen[index] = _look(record)
        if record.get(Field.TRIES) > self._core.settings.serving.load_attempts and not self._has_ready():
            self._give_up(LOAD_FAILED_EXIT)
        phase, deadline, now = record.phase, record.get(Field.DEADLINE), monotonic_s()
        if deadline and now > deadline + OVERRUN_S:
            log.warning("child_overran", pid=pid, phase=phase.name.lower(), jobs=int(record.get(Field.JOBS)))
            _kill(pid)
        elif deadline and now > deadline and phase is Phase.RUNNING:
            record.set(Field.STOP, record.get(Field.PROGRESS))  # an engine that can, ends the call by itself
        self._end_deaf(index, record, pid, now)

    def _has_ready(self) -> bool:
        return any(record.phase in READY for record in self._records)

    def _heed_cancels(self, now: float) -> None:
        """Asks engine calls to end that hold cancelled jobs, where that is worth it."""
        running: dict[str, tuple[int, Record, float, UnderWay]] = {}
        for index, record in enumerate(self._records):
            progress, began = record.get(Field.PROGRESS), record.get(Field.BEGAN)
            if record.phase is Phase.RUNNING and record.instance_id and now - began >= TICK_S:
                call = UnderWay(
                    jobs=int(record.get(Field.JOBS)),
                    cancelled=0,
                    running_s=now - began,
                    expected_s=record.get(Field.EXPECTED),
                )
                running[record.instance_id] = index, record, progress, call
        if not running:
            return
        held = {instance_id: int(record.get(Field.GENERATION)) for instance_id, (_, record, *_) in running.items()}
        for instance_id, cancelled in self._core.jobs.store.unwanted(held).items():
            index, record, progress, call = running[instance_id]
            if index not in self._stopping and should_stop(dataclasses.replace(call, cancelled=cancelled)):
                log.info("call_stopped_for_cancel", instance_id=instance_id, jobs=call.jobs, cancelled=cancelled)
                record.set(Field.STOP, progress)
                self._stopping[index] = progress, now

    def _end_calls(self, now: float) -> None:
        """The grace is over: who sent the signal will kill us next, and that would cost the jobs an attempt."""
        for index, record in enumerate(self._records):
            if record.phase is Phase.RUNNING and index not in self._stopping:
                log.info("call_stopped_for_shutdown", pid=int(record.get(Field.PID)), jobs=int(record.get(Field.JOBS)))
                record.set(Field.STOP, record.get(Field.PROGRESS))
                self._stopping[index] = record.get(Field.PROGRESS), now

    def _end_deaf(self, index: int, record: Record, pid: int, now: float) -> None:
        """Ends a child whose engine went on with a call that it was asked to end; nobody is charged for that."""
        if index not in self._stopping:
            return
        progress, asked_at = self._stopping[index]
        if record.get(Field.PROGRESS) != progress:
            del self._stopping[index]
        elif now - asked_at >= DEAF_S:
            del self._stopping[index]
            log.info("child_ended_deaf", pid=pid, jobs=int(record.get(Field.JOBS)))
            self._ended_blameless.add(pid)
            _kill(pid)

    def _bury(self, child: Seen, record: Record) -> None:
        if record.get(Field.IS_STOPPING) == SURPLUS:
            record.set(Field.IS_STOPPING, 0)
            if child.phase not in READY:
                self._see_off(child, record)
                return
        if child.phase in (Phase.LOADING, Phase.LOAD_FAILED):
            self._count_failed_load(child)
            return
        self._died_loading = 0
        if self._is_draining and not child.instance_id:
            return
        is_asked = self._is_draining and child.phase is Phase.IDLE
        (log.info if is_asked else log.warning)("child_ended", pid=child.pid, phase=child.phase.name.lower())
        if child.pid in self._ended_blameless:
            self._ended_blameless.discard(child.pid)
            self._give_back(child)
        if child.instance_id:
            self._core.serving.instances.end(child.instance_id, child.generation)
        self._free_slot(child)
        moved = self._core.jobs.store.reap()
        announce(self._core.jobs, [job_id for job_id, state in moved if state in FINAL])
        if moved or child.token:
            ring_all(self._core.jobs)

    def _see_off(self, child: Seen, record: Record) -> None:
        """Who left because there were too many held no job, unless it was a doorbell's that reached it late."""
        record.set(Field.TRIES, 0)
        log.info("child_left", pid=child.pid)
        if child.instance_id:
            self._core.serving.instances.end(child.instance_id, child.generation)
        self._free_slot(child)
        if child.token:
            ring_all(self._core.jobs)

    def _give_back(self, child: Seen) -> None:
        """Before the lease ends and the reaper charges: what was cancelled is over now, its mates wait again."""
        service_id = self._core.settings.process.service_id
        by = Claimant(
            service_id=service_id,
            instance_id=child.instance_id,
            generation=child.generation,
            worker="",
            model_version="",
        )
        moved = self._core.jobs.store.disown(by)
        announce(self._core.jobs, [job_id for job_id, state in moved.items() if state in FINAL])

    def _free_slot(self, child: Seen) -> None:
        """Else nobody would be rung for the slot until its lease is over."""
        service_id = self._core.settings.process.service_id
        with contextlib.suppress(HotUnavailable):
            for _ in range(len(self._records) + 1 if child.token else 0):
                if self._slots.release_if_no_wake(service_id, slot=child.slot, token=child.token):
                    return

    def _count_failed_load(self, child: Seen) -> None:
        me = self._core.settings.process
        if child.phase is Phase.LOADING:
            self._core.serving.replicas.note_load_failure(
                me.replica_id, me.replica_generation, reason="The engine process died, or was ended, while it loaded."
            )
        self._died_loading += 1
        log.warning("load_ended_early", pid=child.pid, times=self._died_loading)
        if self._died_loading >= self._core.settings.serving.load_attempts:
            self._give_up(LOAD_FAILED_EXIT)

    def _renew(self) -> None:
        """Leases of children that make progress: a child past its deadline gets none."""
        now, held = monotonic_s(), dict[str, int]()
        service_id = self._core.settings.process.service_id
        pids: dict[str, int] = {}
        for record in self._records:
            deadline = record.get(Field.DEADLINE)
            is_late = bool(deadline) and now > deadline
            if record.phase not in READY or is_late or not record.instance_id or not record.get(Field.PID):
                continue
            held[record.instance_id] = int(record.get(Field.GENERATION))
            pids[record.instance_id] = int(record.get(Field.PID))
            if token := record.token:
                with contextlib.suppress(HotUnavailable):
                    self._slots.renew(service_id, slot=int(record.get(Field.SLOT)), token=token)
        if not held:
            return
        self._died_loading = 0
        valid = self._core.serving.instances.renew(held, lease_s=self._core.settings.workers.lease_s)
        for instance_id in held.keys() - valid:
            log.warning("instance_fenced", instance_id=instance_id, pid=pids[instance_id])
            _kill(pids[instance_id])

    def _report(self, now: float) -> None:
        ready = sum(record.phase in READY for record in self._records)
        observed = Observed.DRAINING if self._is_draining else Observed.READY if ready else Observed.STARTING
        if self._reported == (observed, ready) and now - self._reported_at < REPORT_S:
            return
        me = self._core.settings.process
        is_ours = self._core.serving.replicas.report(
            me.replica_id,
            me.replica_generation,
            observed=observed,
            instances_ready=ready,
            pid=os.getpid(),
            idle_s=self._idle_s(now) if ready else None,
        )
        was_ready = self._reported is not None and self._reported[1] > 0
        self._reported, self._reported_at = (observed, ready), now
        if not is_ours:
            self._give_up(SUPERSEDED_EXIT)
        elif ready and not was_ready:
            self._core.serving.kick.reconcile()
            ring_all(self._core.jobs)

    def _idle_s(self, now: float) -> float:
        """Since an engine was at work, for jobs or for predictions, or since there has been one."""
        if any(record.phase in READY and record.phase is not Phase.IDLE for record in self._records):
            return 0.0
        self._ready_at = self._ready_at or now
        return now - max([self._ready_at, *(record.get(Field.BEGAN) for record in self._records)])

    def _give_up(self, code: int) -> None:
        if not self._has_stopped:
            self._has_stopped = True
            for record in self._records:
                record.set(Field.IS_STOPPING, 1)
            log.warning("worker_gives_up", exit_code=code)
            self._stop_worker(code)


def _look(record: Record) -> Seen:
    return Seen(
        pid=int(record.get(Field.PID)),
        phase=record.phase,
        instance_id=record.instance_id,
        generation=int(record.get(Field.GENERATION)),
        slot=int(record.get(Field.SLOT)),
        token=record.token,
        loads=int(record.get(Field.LOADS)),
    )


def is_alive(pid: int) -> bool:
    """Whether a process runs: neither gone nor a zombie."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (OSError, IndexError):
        return False
    return state not in "ZX"


def _kill(pid: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)
