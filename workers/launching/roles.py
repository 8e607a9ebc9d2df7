"""The processes of a running system: what each is called, how it is started, and how it is ended."""

import signal
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import IntEnum
from pathlib import Path

from inference.settings import Settings
from workers.launching import broker, front
from workers.launching.vigil import CONTROL_BEAT

BROKER, FRONT, API, LIVE = "broker", "front", "api", "live"
CONTROL, NODE, FLOWER = "control", "node", "flower"
BROKER_USERS = {API: "api", LIVE: "api", CONTROL: "worker", NODE: "worker", FLOWER: "monitor"}
"""Who each role is to the embedded broker (`inference.redisio.acl`); the others have no business with it."""
FLOWER_TASKS = 12_000
"""That Flower remembers, some 8 kB each: 10,000 jobs with their drains. docker-compose.yml says the same."""
MIGRATE = (sys.executable, "-m", "workers.prepare")
SECRETS = ("PENSTOCK_ACCESS__FIRST_KEY", "PENSTOCK_ACCESS__METRICS_KEY", "PENSTOCK_API_KEY")
"""Texts of keys: `MIGRATE` makes keys of them, and no other process needs one."""


NO_URLS = dict.fromkeys(("PENSTOCK_DATABASE_URL", "PENSTOCK_REDIS_URL", "PENSTOCK_BROKER_URL"), "")
"""For nginx, Valkey and the nursery, who connect to neither: URLs may hold passwords."""


class Stage(IntEnum):
    """Ending goes in this order: first no new request, then the work, then what the work stands on."""

    DOOR = 0
    WORK = 1
    GROUND = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Role:
    """`orphan_signal` is what the kernel sends to the process when the launcher is gone.

    `answers_at`: the Unix socket on which it serves /healthz; `beats_at`: the file that it touches every second or so.
    A part that has one of them and falls silent is ended and started again. `is_forked`: a Python module of ours, which
    the nursery starts, once it is warm.
    """

    name: str
    argv: tuple[str, ...]
    stage: Stage = Stage.WORK
    environment: Mapping[str, str] = field(default_factory=dict)
    orphan_signal: int = signal.SIGKILL
    inherit: tuple[int, ...] = ()
    answers_at: str = ""
    beats_at: str = ""
    is_forked: bool = False

    @property
    def logs_ours(self) -> bool:
        """Whether it logs as our own processes do: Flower has its own way."""
        return self.is_forked and self.name != FLOWER


@dataclass(frozen=True, slots=True, kw_only=True)
class Ports:
    """Loopback ports chosen once for a data folder and kept across restarts; 0 where a part is not started."""

    broker: int = 0
    node: int = 0


def ground(*, ports: Ports, listener: int, embedded_broker: bool) -> list[Role]:
    """What stands before the store is ready: the front on the socket `listener`, and the broker if it is ours."""
    door = Role(
        name=FRONT,
        argv=(str(front.binary()), "-p", "./", "-c", "run/nginx.conf", "-e", "stderr"),
        stage=Stage.DOOR,
        environment={"NGINX": f"{listener};", **NO_URLS},
        inherit=(listener,),
    )
    if not embedded_broker:
        return [door]
    base = Role(
        name=BROKER,
        argv=(str(broker.binary()), "run/valkey.conf"),
        stage=Stage.GROUND,
        environment=NO_URLS,
        orphan_signal=signal.SIGTERM,
    )
    return [door, base]


def work(ports: Ports, live_processes: int = 1) -> list[Role]:
    """Everything that needs store and broker."""
    python = (sys.executable, "-m")
    behind = {"PENSTOCK_API__BEHIND_FRONT": "true"}  # on sockets that only our own user can open
    return [
        Role(
            name=API,
            argv=(*python, "workers.http_host", "--uds", front.API_SOCKET),
            environment=behind,
            answers_at=front.API_SOCKET,
            is_forked=True,
        ),
        *(
            Role(
                name=LIVE if number == 0 else f"{LIVE}-{number}",
                argv=(*python, "api.live.server", "--uds", uds),
                environment=behind,
                answers_at=uds,
                is_forked=True,
            )
            for number, uds in enumerate(front.live_sockets(live_processes))
        ),
        Role(name=CONTROL, argv=(*python, "workers.control", "--with-beat"), beats_at=CONTROL_BEAT, is_forked=True),
        Role(
            name=NODE,
            argv=(*python, "workers.node"),
            # Its workers' figures ask for no key: they stay on loopback wherever the front listens.
            environment={"PENSTOCK_WORKERS__METRICS_PORT": str(ports.node), "PENSTOCK_API__HOST": "127.0.0.1"},
            is_forked=True,
        ),
    ]


def flower() -> Role:
    """Flower with no login of its own: it listens in a folder closed to others, and the front asks for a key."""
    return Role(
        name=FLOWER,
        argv=(
            *(sys.executable, "-m", "celery", "-A", "workers.app", "flower"),
            *(f"--unix_socket={front.FLOWER_SOCKET}", f"--url_prefix={front.FLOWER_PREFIX}"),
            *("--persistent=False", f"--max_tasks={FLOWER_TASKS}"),
        ),
        environment={"FLOWER_UNAUTHENTICATED_API": "true"},
        is_forked=True,
    )


def with_own_user(role: Role, settings: Settings, *, port: int, passwords: Mapping[str, str]) -> Role:
    """The role, told to come to the embedded broker under its own name; unchanged where nobody has one."""
    user = BROKER_USERS.get(role.name.partition("-")[0])
    if user is None or not passwords:
        return role
    own = broker.url(port=port, user=user, password=passwords[user])
    urls = {"PENSTOCK_REDIS_URL": settings.redis_url or own, "PENSTOCK_BROKER_URL": settings.broker_url or own}
    return replace(role, environment={**role.environment, **urls})


def environment(settings: Settings, *, run_id: str, redis_url: str, inherited: Mapping[str, str]) -> dict[str, str]:
    """What every process finds in its environment, `PENSTOCK_ROLE` excepted. URLs are resolved, paths absolute.

    `redis_url` is the embedded broker's, for what the user has not named a server for; empty where each role has one of
    its own.
    """
    values = {name: value for name, value in inherited.items() if name not in SECRETS}
    values.update(
        PENSTOCK_DATA_DIR=str(settings.data_dir),
        PENSTOCK_RUN_ID=run_id,
        PENSTOCK_DATABASE_URL=_absolute(settings.database_url),
        PENSTOCK_REDIS_URL=settings.redis_url or redis_url,
        PENSTOCK_BROKER_URL=settings.broker_url or redis_url,
        PYTHONUNBUFFERED="1",
    )
    if config := values.get("PENSTOCK_CONFIG"):
        values["PENSTOCK_CONFIG"] = str(Path(config).absolute())
    if settings.resources.replay:
        values["PENSTOCK_RESOURCES__REPLAY"] = str(Path(settings.resources.replay).absolute())
    return values


def secrets_of(environ: Mapping[str, str]) -> dict[str, str]:
    """What `MIGRATE` finds in its environment besides."""
    return {name: environ[name] for name in SECRETS if name in environ}


def _absolute(database_url: str) -> str:
    """A SQLite file named relative to where `up` was called is the same file for parts that run elsewhere."""
    path = database_url.removeprefix("sqlite:///")
    if path == database_url or path.startswith(("/", ":", "file:")) or not path:
        return database_url
    return f"sqlite:///{Path(path).absolute()}"
