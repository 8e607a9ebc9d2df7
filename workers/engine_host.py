"""The engine child: loads its model when it starts, then drains when the bell rings or when it finds work itself."""

import contextlib
import os
import random
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NoReturn, TypeVar

import structlog
from billiard import current_process

from inference import wiring
from inference.access.model import Scope
from inference.clock import monotonic_s
from inference.core import Core
from inference.errors import HotUnavailable, PenstockError, StoreUnavailable, Unavailable
from inference.jobs.cache import variant
from inference.jobs.directory import slots as slots_of
from inference.jobs.drain import Drain, Ended
from inference.jobs.express_side import tell_lost
from inference.jobs.model import Claimant, Moved, Outcome
from inference.redisio.client import RedisLink
from inference.redisio.slots import LEASE_S, Slots, Wake
from inference.registry.model import ModelVersion
from inference.settings import Settings
from inference.telemetry import metrics
from workers import publisher
from workers.batch_runner import Instance
from workers.job_events import JobEvents
from workers.loading import Loaded, load
from workers.progress import Reports
from workers.pulse import Field, Phase, Pulse, Record, path_of
from workers.queues import DRAIN_TASK, service_queue
from workers.resize import SURPLUS

log = structlog.get_logger(__name__)

T = TypeVar("T")

LOAD_FAILED_EXIT = 70
DRAIN_FAILED_EXIT = 71
LOAD_PAUSE_S = 0.5
LOAD_LATER_S = 10.0
POLL_WHILE_DEAF_S = 0.25
"""How often the queue is looked at while Redis is away and no bell can be heard."""
HEED_S = 0.1
YIELD_S = 0.01
"""Between two quanta of polling: a doorbell that waits for the lock gets it."""


class EngineHost:
    """Everything one child needs; made once, by `start`."""

    def __init__(self, settings: Settings, core: Core, instance: Instance, tenant_id: str) -> None:
        self.settings = settings
        self._instance = instance
        self._record = instance.record
        self._service_id = instance.claimant.service_id
        linger_s = settings.workers.linger_ms / 1000
        self._link = RedisLink(settings, timeout_s=linger_s + settings.redis.publish_timeout_s)
        self._slots = Slots(self._link)
        self._core = core
        self._tenant_id = tenant_id
        self._sender = publisher.Sender(settings)
        self._drain = Drain(core.jobs, instance, tenant_id)
        self._lock = threading.Lock()
        self._drained_at = monotonic_s()
        self._unreleased: tuple[int, str] | None = None
        self._listens_until = monotonic_s() + LEASE_S

    def answer_bell(self, slot: int, token: str) -> None:
        """Drains under a slot. A doorbell whose slot is not its own any more is ignored."""
        try:
            if not self._slots.renew(self._service_id, slot=slot, token=token):
                metrics.empty_claims.labels(self._service_id).inc()
                return
        except HotUnavailable:
            log.info("slot_unchecked", slot=slot)
        self._listens_until = 0.0
        while not self._lock.acquire(timeout=1.0):
            if self._record.phase is Phase.RESTED:
                self._pass_on(slot, token)
                return
        try:
            self._record.token = token
            self._record.set(Field.SLOT, slot)
            self._drain_and_linger(slot, token)
        finally:
            self._record.token = ""
            self._drained_at = monotonic_s()
            self._lock.release()

    def _drain_and_linger(self, slot: int, token: str) -> None:
        quantum_ends = monotonic_s() + self.settings.workers.quantum_s
        woken: Wake | None = None
        while True:
            ended = self._work(quantum_ends, woken)
            if ended is Ended.TIME:
                woken = None
                if self._hand_over(slot, token):
                    return
                quantum_ends = monotonic_s() + self.settings.workers.quantum_s
                continue
            if ended is Ended.STOPPING:
                self._drain.rest()
                self._let_go(slot, token)
                return
            woken = self._slots.wait(self._service_id, timeout_s=self.settings.workers.linger_ms / 1000)
            if woken is not None:
                continue
            self._drain.rest()
            if self._released(slot, token):
                return

    def _work(self, until_s: float, woken: Wake | None = None) -> Ended:
        """Drains. An error that nobody foresaw ends this process, so that the jobs it held come back as suspects."""
        try:
            return self._drain.work(until_s=until_s, looks=woken is not Wake.EXPRESS, is_for_jobs=woken is Wake.JOBS)
        except Exception:
            log.exception("drain_failed")
            sys.stderr.flush()
            os._exit(DRAIN_FAILED_EXIT)

    def _hand_over(self, slot: int, token: str) -> bool:
        """Rings for itself, so that others get their turn; False when the broker does not take it: go on."""
        try:
            if not self._slots.renew(self._service_id, slot=slot, token=token):
                return True
            self._sender.send(service_queue(self._service_id), DRAIN_TASK, [self._service_id, slot, token])
            metrics.doorbells.labels(self._service_id).inc()
        except Exception as error:
            log.warning("hand_over_failed", reason=str(error))
            return False
        return True

    def _released(self, slot: int, token: str) -> bool:
        try:
            return self._slots.release_if_no_wake(self._service_id, slot=slot, token=token)
        except HotUnavailable:
            self._unreleased = (slot, token)
            return True

    def _let_go(self, slot: int, token: str) -> None:
        """Stopping: the slot goes back, and the bell rings once more for whoever stays."""
        if not self._released(slot, token):
            self._released(slot, token)
        with contextlib.suppress(PenstockError):
            service, _ = self._core.jobs.directory.find(Scope(self._tenant_id), self._service_id)
            self._core.jobs.bell.ring(self._service_id, slots=slots_of(service))

    def poll_for_ever(self) -> None:
        """Looks at the queue at once, and then when no bell has rung for a while: nobody depends on bells.

        Whoever died with a bell in its hands left its slot taken, and until the slot's lease is over rings leave wake
        tokens only. So until a bell was answered here it listens for those, for as long as a lease lasts after its
        start and after each look that found work.
        """
        poll_s = self.settings.workers.poll_s
        while self._poll() is Ended.TIME:
            time.sleep(YIELD_S)
        while True:
            is_deaf = not self._hears()
            pause_s = (POLL_WHILE_DEAF_S if is_deaf else poll_s) * random.uniform(0.75, 1.25)  # noqa: S311 - jitter
            is_woken = self._pause(pause_s, listens=not is_deaf)
            if is_deaf or is_woken or monotonic_s() - self._drained_at >= pause_s:
                while self._poll(waits=is_woken) is Ended.TIME:
                    time.sleep(YIELD_S)

    def _pause(self, pause_s: float, *, listens: bool) -> bool:
        """Whether it was woken before the time was over."""
        ends = monotonic_s() + pause_s
        linger_s = self.settings.workers.linger_ms / 1000
        # Not beside a drain: it lingers on the same list, and a token taken from it costs the job that long.
        while listens and not self._is_draining() and monotonic_s() < min(ends, self._listens_until):
            began = monotonic_s()
            if wake_of_others(self._slots, self._service_id, timeout_s=linger_s, is_draining=self._is_draining):
                return True
            time.sleep(max(0.0, began + linger_s / 2 - monotonic_s()))  # Redis has just gone away
        time.sleep(max(0.0, ends - monotonic_s()))
        return False

    def _is_draining(self) -> bool:
        return bool(self._record.token)

    def heed_stops(self) -> None:
        """Sees within `HEED_S` that the parent wishes an engine call to end."""
        while True:
            time.sleep(HEED_S)
            self._instance.heed_stop()
            self._leave_if_surplus()

    def _leave_if_surplus(self) -> None:
        """After the batch under way, if any: from then on none begins here, and the parent ends this process."""
        if self._record.get(Field.IS_STOPPING) != SURPLUS or self._record.phase is Phase.RESTED:
            return
        if self._lock.acquire(timeout=HEED_S):
            self._drain.rest()
            self._record.enter(Phase.RESTED)  # the lock is kept

    def _pass_on(self, slot: int, token: str) -> None:
        """A doorbell that reached a child that leaves. Should it be ended meanwhile, its parent frees the slot."""
        self._record.set(Field.SLOT, slot)
        self._record.token = token
        time.sleep(HEED_S)
        self._let_go(slot, token)
        self._record.token = ""

    def rest(self) -> None:
        """Returns when the batch under way, if any, is finished; from then on none begins."""
        if self._record.phase is not Phase.RESTED:
            self._lock.acquire(timeout=self.settings.workers.stop_grace_s)

    def _hears(self) -> bool:
        """Whether Redis answers; then a slot that could not be given back while it was away goes back now."""
        try:
            self._link.ping()
            if self._unreleased is not None and not self._record.token:
                slot, token = self._unreleased
                self._slots.release_if_no_wake(self._service_id, slot=slot, token=token)
                self._unreleased = None
        except HotUnavailable:
            return False
        return True

    def _poll(self, *, waits: bool = False) -> Ended:
        """One quantum, when there is something to claim or to give back; TIME when more may be waiting.

        `waits`: for a drain under way, which may have looked before the work came for which a wake token was taken.
        It claims at once: what was rung for may be under way to the disk, and a mere look does not wait for it.
        """
        if self._instance.is_stopping() or not self._lock.acquire(
            timeout=self.settings.workers.quantum_s if waits else 0
        ):
            return Ended.EMPTY
        try:
            if waits or self._drain.is_unsure or self._has_waiting():
                if self._listens_until:  # no bell was answered here yet
                    self._listens_until = monotonic_s() + LEASE_S
                ended = self._work(monotonic_s() + self.settings.workers.quantum_s)
                self._drain.rest()
                return ended
        except PenstockError as error:
            log.warning("poll_failed", reason=error.message)
        finally:
            self._drained_at = monotonic_s()
            self._lock.release()
        return Ended.EMPTY

    def _has_waiting(self) -> bool:
        """In either lane. Jobs first: a Redis that hangs must not keep them waiting."""
        try:
            if self._core.jobs.store.has_waiting(self._service_id):
                return True
        except Unavailable:
            if self._is_express_waiting():
                return True
            raise
        return self._is_express_waiting()

    def _is_express_waiting(self) -> bool:
        lane = self._core.jobs.express
        with contextlib.suppress(HotUnavailable):
            return lane is not None and lane.waiting(self._service_id) > 0
        return False


def start(settings: Settings, app: Any, *, hostname: str) -> EngineHost:
    """Loads the model and registers the instance. A model that does not load ends this process.

    The parent counts such ends, and gives up after `serving.load_attempts` of them.
    """
    index = int(getattr(current_process(), "index", 0))
    record = Pulse(path_of(settings)).record(index)
    record.clear()
    record.set(Field.PID, os.getpid())
    told = publisher.connect(settings)
    patience = _Patience(record, settings.serving.load_deadline_s)
    core = patience(lambda: wiring.build(settings, bell=told.bell, kick=told.kick))
    _wait_for_turn(record, most=settings.serving.load_attempts)
    try:
        service = patience(lambda: core.serving.services.of_any_tenant(settings.process.service_id))
        model = patience(lambda: core.serving.models.get(service.tenant_id, service.model_id))
        reports = Reports(core.progress, now_s=core.jobs.store.now_s)
        loaded = patience(lambda: load(core, service, model, reports))
    except Exception as error:
        _give_up(core, record, error)
    claimant = patience(lambda: _register(core, index=index, hostname=hostname, model=model, loaded=loaded))
    events = JobEvents(app, hostname=hostname)
    instance = Instance(
        claimant=claimant,
        engine=loaded.engine,
        hooks=loaded.hooks,
        record=record,
        settings=settings.jobs,
        max_rows=loaded.max_rows,
        max_wait_s=service.config.max_wait_ms / 1000,
        ahead_below_s=settings.workers.claim_ahead_ms / 1000,
        now_s=core.jobs.store.now_s,
        reports=reports,
        on_told=events.send if settings.telemetry.job_events else _nothing,
        batch_s=loaded.batch_s,
        nan_policy=loaded.nan_policy,
    )
    tell_lost(core.jobs, claimant.instance_id)
    record.instance_id = claimant.instance_id
    record.set(Field.GENERATION, claimant.generation)
    record.set(Field.LOADS, record.get(Field.LOADS) + 1)
    record.set(Field.TRIES, 0)
    record.enter(Phase.IDLE)
    host = EngineHost(settings, core, instance, service.tenant_id)
    threading.Thread(target=host.poll_for_ever, name="poll", daemon=True).start()
    threading.Thread(target=host.heed_stops, name="stops", daemon=True).start()
    return host


def wake_of_others(slots: Slots, service_id: str, *, timeout_s: float, is_draining: Callable[[], bool]) -> bool:
    """Whether a wake token came in time. One that came when a drain had begun meanwhile goes back to it: it lingers."""
    woken = slots.wait(service_id, timeout_s=timeout_s)
    if woken is not None and is_draining():
        with contextlib.suppress(HotUnavailable):
            slots.give_back(service_id, woken)
    return woken is not None


class _Patience:
    """A database that is away is no fault of the model: waits for it, and begins the load's deadline anew."""

    def __init__(self, record: Record, limit_s: float) -> None:
        self._record = record
        self._limit_s = limit_s

    def __call__(self, read: Callable[[], T]) -> T:
        while True:
            self._record.enter(Phase.LOADING, deadline=monotonic_s() + self._limit_s)
            try:
                return read()
            except Unavailable as error:
                log.warning("load_waits", reason=error.message)
                time.sleep(1.0)


def _register(core: Core, *, index: int, hostname: str, model: ModelVersion, loaded: Loaded) -> Claimant:
    """The instance's row and lease, as who it claims from now on."""
    me, workers = core.settings.process, core.settings.workers
    instance_id, generation = core.serving.instances.open(
        service_id=me.service_id,
        replica_id=me.replica_id,
        slot=index,
        replica_generation=me.replica_generation,
        pid=os.getpid(),
        lease_s=workers.lease_s,
    )
    return Claimant(
        service_id=me.service_id,
        instance_id=instance_id,
        generation=generation,
        worker=f"{hostname}#{index}",
        model_version=model.version,
        model_id=model.id,
        variant=variant(model.id, loaded.nan_policy),
    )


def _wait_for_turn(record: Record, *, most: int) -> None:
    """After a child that did not load: long enough to be seen by the parent, which looks four times a second.

    After `most` of them the parent ends all, unless other children work; then one more tries now and then.
    """
    tries = int(record.get(Field.TRIES))
    record.set(Field.TRIES, tries + 1)
    if not tries:
        return
    are_over = tries >= most
    if are_over:
        record.enter(Phase.LOAD_FAILED)  # should it be ended here, the reason of those before stands
    ends = monotonic_s() + (LOAD_LATER_S if are_over else LOAD_PAUSE_S)
    while monotonic_s() < ends:
        time.sleep(LOAD_PAUSE_S / 2)
        if are_over and record.get(Field.IS_STOPPING):
            os._exit(LOAD_FAILED_EXIT)


def _give_up(core: Core, record: Record, error: Exception) -> NoReturn:
    """Says why, in the replica's row and the log, and ends this process; the pool starts another one."""
    reason = error.message if isinstance(error, PenstockError) else f"{type(error).__name__}: {error}"
    log.error("load_failed", reason=reason)
    me = core.settings.process
    with contextlib.suppress(StoreUnavailable):
        core.serving.replicas.note_load_failure(me.replica_id, me.replica_generation, reason=reason)
    record.enter(Phase.LOAD_FAILED)
    time.sleep(LOAD_PAUSE_S)
    sys.stderr.flush()
    os._exit(LOAD_FAILED_EXIT)


def _nothing(_outcomes: Sequence[Outcome], _moved: Mapping[str, Moved]) -> None:
    pass
