"""Settings: one frozen object, read once from the environment and a TOML file by each entry point.

`PENSTOCK_<ROOM>__<NAME>` sets `settings.<room>.<name>`; a few short names stand beside them. The environment
wins over the file named by `PENSTOCK_CONFIG`. A misspelt name stops the start.
"""

import dataclasses
import tomllib
import types
import typing
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from inference import production, ranges
from inference.errors import BadSettings

PREFIX = "PENSTOCK_"
IGNORED = frozenset({"PENSTOCK_CONFIG", "PENSTOCK_URL", "PENSTOCK_API_KEY"})
"""Names of ours that are no settings: where the file is, where the command line finds a system, and its key."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessSettings:
    """Who this process is. Set by the launcher and the node agent, never by a person."""

    role: str = ""
    service_id: str = ""
    replica_id: str = ""
    replica_generation: int = 0
    node_id: str = ""
    device: str = "cpu"
    run_id: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreSettings:
    """`gate_timeout_s`: how long a writer waits for SQLite's turn before it answers 503.

    `answer_timeout_s`: how long PostgreSQL may take to answer a statement before it counts as away; 0 for ever.
    `sqlite_cache_kb`: pages that each connection may keep; the control process keeps 1 MB at most.
    """

    sqlite_synchronous: str = "FULL"
    sqlite_cache_kb: int = 16_000
    gate_timeout_s: float = 2.0
    pool_size: int = 4
    connect_timeout_s: float = 3.0
    answer_timeout_s: float = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class RedisSettings:
    """Time limits of every call to Redis; a slot or a hot copy is never worth a longer wait.

    `ca_file`: who must have signed the certificate of a `rediss://` server; empty: whom the system trusts.
    """

    socket_timeout_s: float = 10.0
    connect_timeout_s: float = 3.0
    breaker_s: float = 1.0
    publish_timeout_s: float = 0.2
    ca_file: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class JobsSettings:
    """`backlog_limit`: jobs that may wait per tenant; one more answers 429.

    `express_limit`: synchronous predictions that may wait per service; `express_share`: the part of each batch that is
    theirs while jobs wait as well (0 to 1). What one of the two lanes does not use, the other has.
    """

    max_attempts: int = 3
    head_start_s: float = 300.0
    timeout_s: float = 60.0
    backlog_limit: int = 1_000_000
    commit_rows: int = 500
    commit_bytes: int = 4_000_000
    batch_limit: int = 10_000
    idempotency_keep_s: float = 172_800.0
    retry_base_s: float = 0.5
    retry_cap_s: float = 60.0
    express_limit: int = 1_000
    express_share: float = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class ResultsSettings:
    """`hot_ttl_s`: life of the copy in Redis. `keep_s`: life of a finished job in SQL; 0 keeps it for good."""

    hot_ttl_s: float = 60.0
    hot_max_bytes: int = 16_384
    keep_s: float = 604_800.0


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkersSettings:
    """`claim_ahead_ms`: the next batch is claimed early only when a batch takes less than this."""

    lease_s: float = 15.0
    renew_s: float = 5.0
    linger_ms: int = 200
    quantum_s: float = 5.0
    poll_s: float = 2.0
    claim_ahead_ms: float = 100.0
    stop_grace_s: float = 6.0
    metrics_port: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class ServingSettings:
    """`replica_silence_s`: a replica whose worker has not reported for this long is started again."""

    load_deadline_s: float = 120.0
    load_attempts: int = 3
    reconcile_s: float = 1.0
    node_poll_s: float = 0.25
    node_silence_s: float = 15.0
    replica_silence_s: float = 20.0
    restart_backoff_cap_s: float = 15.0


@dataclass(frozen=True, slots=True, kw_only=True)
class EnginesSettings:
    """`plugins`: further engines, `name=package.module:Class`, separated by commas."""

    objective_ms: float = 500.0
    max_batch: int = 64
    profile_budget_s: float = 3.0
    threads: int = 1
    plugins: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class RegistrySettings:
    """`model_roots`: folders that `model_path` may name, separated by `:`. Empty: any without keys, none with keys."""

    model_roots: str = ""
    validate_memory_bytes: int = 8 << 30
    validate_timeout_s: float = 30.0
    upload_limit_bytes: int = 8 << 30


@dataclass(frozen=True, slots=True, kw_only=True)
class AccessSettings:
    """`require_keys`: also before the first key was made; production mode sets it, and the launcher where others can
    reach the system. `first_key`, `metrics_key`: texts of keys that `workers.prepare` makes.

    `refresh_s`: how old a process's knowledge of keys may be; `stale_s`: how old while the database is away.
    The limits are those of tenants that have none of their own; 0 is none.
    """

    require_keys: bool = False
    first_key: str = field(default="", repr=False)
    metrics_key: str = field(default="", repr=False)
    refresh_s: float = 0.5
    stale_s: float = 60.0
    wrong_keys_per_minute: int = 20
    requests_per_s: float = 0.0
    bytes_stored: int = 0
    gpu_seconds_per_day: float = 0.0
    share_every_s: float = 0.25


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiSettings:
    """`inline_limit_bytes` counts one input; `body_limit_bytes` a whole JSON body.

    `live_processes`: how many take submits and keep who waits; one fills a core at some 5,000 submits a second.
    `waiting_per_caller`: long polls and streams that one key, or address without a key, may have open in each; 0 is no
    limit.
    `behind_front`: only our front can connect, so what it says of the client (`X-Real-IP`, `X-Forwarded-*`) is true.
    """

    host: str = "127.0.0.1"
    port: int = 8080
    workers: int = 1
    threads: int = 16
    inline_limit_bytes: int = 131_072
    body_limit_bytes: int = 16_777_216
    wait_limit_s: float = 60.0
    live_processes: int = 1
    waiting_per_caller: int = 4_000
    behind_front: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class FrontSettings:
    """With `certificate` (PEM, with its chain) and `certificate_key` the front speaks HTTPS and nothing else.

    `trusted_proxies`: networks of proxies before the front, separated by commas; their X-Forwarded-* is believed.
    `flower_login`: `user:password` that Flower asks the front for, where others could reach it past the front.
    """

    certificate: str = ""
    certificate_key: str = ""
    trusted_proxies: str = ""
    flower_login: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class NotifySettings:
    """Webhooks. `allowed_networks`: CIDRs, separated by commas, that they may reach though they are not public.

    `lease_s`: how long one sender has for a delivery; longer than an attempt can take. `keep_s`: how long a delivery
    is shown after its end.
    """

    allowed_networks: str = ""
    senders: int = 8
    timeout_s: float = 15.0
    lease_s: float = 60.0
    keep_s: float = 604_800.0


@dataclass(frozen=True, slots=True, kw_only=True)
class TelemetrySettings:
    """`job_events`: whether Flower is told of each job, one message a batch. `worker_logs`: files, or stderr."""

    log_level: str = "info"
    log_format: str = "json"
    job_events: bool = False
    worker_logs: str = "files"


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Everything a process may know of its surroundings. URLs are hidden from `repr`: they may hold passwords."""

    mode: str = "development"
    data_dir: Path = Path(".penstock")
    database_url: str = field(default="", repr=False)
    redis_url: str = field(default="", repr=False)
    broker_url: str = field(default="", repr=False)
    process: ProcessSettings = ProcessSettings()
    store: StoreSettings = StoreSettings()
    redis: RedisSettings = RedisSettings()
    jobs: JobsSettings = JobsSettings()
    results: ResultsSettings = ResultsSettings()
    workers: WorkersSettings = WorkersSettings()
    serving: ServingSettings = ServingSettings()
    engines: EnginesSettings = EnginesSettings()
    registry: RegistrySettings = RegistrySettings()
    access: AccessSettings = AccessSettings()
    api: ApiSettings = ApiSettings()
    front: FrontSettings = FrontSettings()
    notify: NotifySettings = NotifySettings()
    telemetry: TelemetrySettings = TelemetrySettings()


_SHORT = ("mode", "data_dir", "database_url", "redis_url", "broker_url")
_PROCESS = tuple(f.name for f in dataclasses.fields(ProcessSettings))
_ROOMS = tuple(f.name for f in dataclasses.fields(Settings) if f.name not in (*_SHORT, "process"))
_TRUE, _FALSE = ("1", "true", "yes", "on"), ("0", "false", "no", "off")


def load(environ: Mapping[str, str]) -> Settings:
    """The settings that `environ`, and the TOML file it names, describe.

    Raises BadSettings for a name that does not exist, a value of the wrong kind, and, in production mode,
    for an unprotected Redis or a missing database.
    """
    values: dict[str, dict[str, Any]] = {room: {} for room in ("", "process", *_ROOMS)}
    if path := environ.get(f"{PREFIX}CONFIG"):
        _read_file(Path(path), values)
    for name, text in environ.items():
        if name.startswith(PREFIX) and name not in IGNORED:
            _read_variable(name, text, values)
    hints = typing.get_type_hints(Settings)
    rooms = {room: hints[room](**values[room]) for room in ("process", *_ROOMS)}
    settings = _complete(Settings(**values[""], **rooms))
    _check(settings)
    return settings


def _read_file(path: Path, values: dict[str, dict[str, Any]]) -> None:
    try:
        content = tomllib.loads(path.read_text())
    except (OSError, tomllib.TOMLDecodeError) as error:
        raise BadSettings(f"The settings file {path} cannot be read: {error}", path=str(path)) from error
    for key, value in content.items():
        if isinstance(value, dict):
            for name, inner in value.items():
                _put(values, key, name, inner, f"{key}.{name} in {path}")
        else:
            _put(values, "", key, value, f"{key} in {path}")


def _read_variable(name: str, text: str, values: dict[str, dict[str, Any]]) -> None:
    plain = name.removeprefix(PREFIX).lower()
    room, separator, key = plain.partition("__")
    if separator:
        _put(values, room, key, text, name)
    elif plain in _PROCESS:
        _put(values, "process", plain, text, name)
    else:
        _put(values, "", plain, text, name)


def _put(values: dict[str, dict[str, Any]], room: str, key: str, value: Any, where: str) -> None:
    known = _SHORT if room == "" else _PROCESS if room == "process" else None
    owner = Settings if room == "" else typing.get_type_hints(Settings).get(room)
    if owner is None or owner is Path or not dataclasses.is_dataclass(owner):
        raise BadSettings(f"{where}: there is no group of settings called '{room}'.", name=where)
    names = known or tuple(f.name for f in dataclasses.fields(owner))
    if key not in names:
        raise BadSettings(f"{where} is not a setting; known here: {', '.join(names)}.", name=where)
    values[room][key] = _convert(value, typing.get_type_hints(owner)[key], where)


def _convert(value: Any, kind: Any, where: str) -> Any:
    if isinstance(kind, types.UnionType):
        kind = next(part for part in typing.get_args(kind) if part is not type(None))
    try:
        if kind is bool:
            return _to_bool(value)
        if kind in (int, float, str, Path) and not isinstance(value, bool):
            return kind(value)
    except (TypeError, ValueError):
        pass
    raise BadSettings(f"{where} must be {'a' if kind is not int else 'an'} {kind.__name__}.", name=where)


def _to_bool(value: Any) -> bool:
    if isinstance(value, bool):
        return value
    text = str(value).lower()
    if text not in _TRUE + _FALSE:
        raise ValueError(text)
    return text in _TRUE


def _complete(settings: Settings) -> Settings:
    """Fills what follows from other settings: SQLite in the data folder, one URL for Redis and broker."""
    data_dir = settings.data_dir.expanduser().absolute()
    asks = settings.access.require_keys or settings.mode == "production"
    return dataclasses.replace(
        settings,
        data_dir=data_dir,
        database_url=settings.database_url or f"sqlite:///{data_dir}/penstock.db",
        broker_url=settings.broker_url or settings.redis_url,
        access=dataclasses.replace(settings.access, require_keys=asks),
    )


_REDIS = ("redis", "rediss", "unix")
_SCHEMES = {"redis_url": _REDIS, "broker_url": (*_REDIS, "redis+socket", "valkey", "amqp", "amqps", "pyamqp")}


def _check_url(name: str, text: str) -> None:
    """The sentence does not repeat the URL: it may hold a password."""
    try:
        url = urlsplit(text)
        is_read = url.scheme in _SCHEMES[name] and (url.port is None or url.port > 0)
    except ValueError:
        is_read = False
    if text and not is_read:
        schemes = ", ".join(f"{scheme}://" for scheme in _SCHEMES[name])
        raise BadSettings(f"{PREFIX}{name.upper()} must be a URL that begins with {schemes}.", name=name)


def _check(settings: Settings) -> None:
    for name in _SCHEMES:
        _check_url(name, getattr(settings, name))
    if settings.mode not in ("development", "production"):
        raise BadSettings("PENSTOCK_MODE must be development or production.", name="PENSTOCK_MODE")
    for where, what in ranges.refusals({room: getattr(settings, room) for room in _ROOMS}):
        name = PREFIX + where.replace(".", "__").upper()
        raise BadSettings(f"{name} {what}.", name=name)
    if settings.store.sqlite_synchronous not in ("FULL", "NORMAL", "EXTRA"):
        raise BadSettings(
            "PENSTOCK_STORE__SQLITE_SYNCHRONOUS must be FULL, NORMAL or EXTRA.",
            name="PENSTOCK_STORE__SQLITE_SYNCHRONOUS",
        )
    if settings.telemetry.log_level.lower() not in ("debug", "info", "warning", "error", "critical"):
        raise BadSettings(
            "PENSTOCK_TELEMETRY__LOG_LEVEL must be debug, info, warning, error or critical.",
            name="PENSTOCK_TELEMETRY__LOG_LEVEL",
        )
    if settings.telemetry.worker_logs not in ("files", "stderr"):
        raise BadSettings(
            "PENSTOCK_TELEMETRY__WORKER_LOGS must be files or stderr.", name="PENSTOCK_TELEMETRY__WORKER_LOGS"
        )
    if settings.redis.ca_file and not Path(settings.redis.ca_file).is_file():
        raise BadSettings(
            f"PENSTOCK_REDIS__CA_FILE names {settings.redis.ca_file}, which is no file.", name="PENSTOCK_REDIS__CA_FILE"
        )
    if settings.mode == "production":
        servers = {
            PREFIX + name.upper(): getattr(settings, name) for name in ("redis_url", "broker_url", "database_url")
        }
        for sentence in production.refusals(servers):
            raise BadSettings(sentence, mode="production")
