"""Every scenario of the chaos suite, in the order in which they are played."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from tests.chaos import scenes_engine, scenes_load, scenes_parts, scenes_workers
from tests.chaos.world import World

BOTH = ("sqlite", "postgresql")
SQLITE, POSTGRESQL = BOTH[:1], BOTH[1:]
SHORT_LEASE = {"WORKERS__LEASE_S": 4, "WORKERS__RENEW_S": 1}


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """`databases`: those it is played on; `possible`: those it can be asked for. `seconds`: about how long it takes.

    `before` prepares what must be there before the system starts.
    """

    name: str
    run: Callable[[World], None]
    seconds: float
    databases: tuple[str, ...] = SQLITE
    possible: tuple[str, ...] = BOTH
    settings: Mapping[str, object] = field(default_factory=dict)
    before: Callable[[World], None] | None = None
    has_system: bool = True


ALL = (
    Scenario(name="workers-killed", run=scenes_workers.killed, seconds=55, databases=BOTH),
    Scenario(name="api-killed", run=scenes_parts.api_killed, seconds=35),
    Scenario(name="broker", run=scenes_parts.broker, seconds=60),
    Scenario(name="engine-no-broker", run=scenes_parts.engine_without_broker, seconds=40),
    Scenario(name="worker-stopped", run=scenes_workers.stopped, seconds=50, databases=POSTGRESQL, settings=SHORT_LEASE),
    Scenario(name="worker-cut", run=scenes_workers.cut, seconds=50, databases=POSTGRESQL, possible=POSTGRESQL),
    Scenario(name="sql-absent", run=scenes_parts.sql_absent, seconds=35, databases=POSTGRESQL, possible=POSTGRESQL),
    Scenario(name="sql-stopped", run=scenes_parts.sql_stopped, seconds=35, databases=POSTGRESQL, possible=POSTGRESQL),
    Scenario(name="bad-mates", run=scenes_engine.bad_mates, seconds=35),
    Scenario(name="poison", run=scenes_engine.poison, seconds=40),
    Scenario(name="controls", run=scenes_parts.controls, seconds=35),
    Scenario(name="clocks", run=scenes_workers.clocks, seconds=30, databases=POSTGRESQL),
    Scenario(name="write-gate", run=scenes_parts.gate, seconds=30, possible=SQLITE),
    Scenario(name="disk-full", run=scenes_parts.disk, seconds=30, before=scenes_parts.small_disk, possible=SQLITE),
    Scenario(name="burst", run=scenes_load.burst, seconds=30),
    Scenario(name="slow-clients", run=scenes_load.slow_clients, seconds=30),
    Scenario(name="rolling-restart", run=scenes_parts.rolling, seconds=45),
    Scenario(name="broken-models", run=scenes_engine.broken, seconds=60, possible=SQLITE, has_system=False),
)
CI = tuple(
    one
    for one in ALL
    if one.name in ("workers-killed", "api-killed", "broker", "sql-absent", "bad-mates", "write-gate")
)
