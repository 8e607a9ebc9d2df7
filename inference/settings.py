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
from inference.setting_rooms import (
    AccessSettings,
    AlertsSettings,
    ApiSettings,
    BackupSettings,
    BlobsSettings,
    CostsSettings,
    EnginesSettings,
    FrontSettings,
    InputsSettings,
    JobsSettings,
    LogsSettings,
    NotifySettings,
    ProcessSettings,
    RedisSettings,
    RegistrySettings,
    ReportsSettings,
    ResourcesSettings,
    ResultsSettings,
    ScalingSettings,
    ServingSettings,
    StoreSettings,
    TelemetrySettings,
    TracesSettings,
    WorkersSettings,
)

__all__ = [
    "IGNORED",
    "PREFIX",
    "AccessSettings",
    "AlertsSettings",
    "ApiSettings",
    "BackupSettings",
    "BlobsSettings",
    "CostsSettings",
    "EnginesSettings",
    "FrontSettings",
    "InputsSettings",
    "JobsSettings",
    "LogsSettings",
    "NotifySettings",
    "ProcessSettings",
    "RedisSettings",
    "RegistrySettings",
    "ReportsSettings",
    "ResourcesSettings",
    "ResultsSettings",
    "ScalingSettings",
    "ServingSettings",
    "Settings",
    "StoreSettings",
    "TelemetrySettings",
    "TracesSettings",
    "WorkersSettings",
    "load",
]

PREFIX = "PENSTOCK_"
IGNORED = frozenset({"PENSTOCK_CONFIG", "PENSTOCK_URL", "PENSTOCK_API_KEY"})
"""Names of ours that are no settings: where the file is, where the command line finds a system, and its key."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Everything a process may know of its surroundings. URLs are hidden from `repr`: they may hold passwords."""

    mode: str = "development"
    data_dir: Path = Path(".penstock")
    database_url: str = field(default="", repr=False)
    redis_url: str = field(default="", repr=False)
    broker_url: str = field(default="", repr=False)
    process: ProcessSettings = field(default_factory=ProcessSettings)
    store: StoreSettings = field(default_factory=StoreSettings)
    redis: RedisSettings = field(default_factory=RedisSettings)
    jobs: JobsSettings = field(default_factory=JobsSettings)
    results: ResultsSettings = field(default_factory=ResultsSettings)
    workers: WorkersSettings = field(default_factory=WorkersSettings)
    serving: ServingSettings = field(default_factory=ServingSettings)
    scaling: ScalingSettings = field(default_factory=ScalingSettings)
    engines: EnginesSettings = field(default_factory=EnginesSettings)
    registry: RegistrySettings = field(default_factory=RegistrySettings)
    blobs: BlobsSettings = field(default_factory=BlobsSettings)
    inputs: InputsSettings = field(default_factory=InputsSettings)
    access: AccessSettings = field(default_factory=AccessSettings)
    api: ApiSettings = field(default_factory=ApiSettings)
    front: FrontSettings = field(default_factory=FrontSettings)
    resources: ResourcesSettings = field(default_factory=ResourcesSettings)
    costs: CostsSettings = field(default_factory=CostsSettings)
    notify: NotifySettings = field(default_factory=NotifySettings)
    logs: LogsSettings = field(default_factory=LogsSettings)
    alerts: AlertsSettings = field(default_factory=AlertsSettings)
    backup: BackupSettings = field(default_factory=BackupSettings)
    reports: ReportsSettings = field(default_factory=ReportsSettings)
    telemetry: TelemetrySettings = field(default_factory=TelemetrySettings)
    traces: TracesSettings = field(default_factory=TracesSettings)


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


def _check_traces(traces: TracesSettings) -> None:
    """The sentences do not repeat the values: they may hold passwords."""
    if traces.endpoint and not (
        traces.endpoint.startswith(("http://", "https://")) and urlsplit(traces.endpoint).netloc
    ):
        raise BadSettings(
            "PENSTOCK_TRACES__ENDPOINT must be a URL that begins with http:// or https://.",
            name="PENSTOCK_TRACES__ENDPOINT",
        )
    if any("=" not in pair for pair in traces.headers.split(",") if pair.strip()):
        raise BadSettings(
            "PENSTOCK_TRACES__HEADERS must be name=value, separated by commas.", name="PENSTOCK_TRACES__HEADERS"
        )


def _check_networks(name: str, text: str) -> None:
    if not text:
        return
    import ipaddress  # few name any

    for part in filter(None, map(str.strip, text.split(","))):
        try:
            ipaddress.ip_network(part)
        except ValueError as error:
            raise BadSettings(
                f"{name} must be networks such as 10.0.0.0/8, separated by commas: {error}.", name=name
            ) from error


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
    if settings.resources.purchase not in ("on_demand", "reserved", "spot"):
        raise BadSettings(
            "PENSTOCK_RESOURCES__PURCHASE must be on_demand, reserved or spot.", name="PENSTOCK_RESOURCES__PURCHASE"
        )
    if not (
        settings.costs.currency.isalpha() and settings.costs.currency.isascii() and len(settings.costs.currency) == 3
    ):
        raise BadSettings(
            "PENSTOCK_COSTS__CURRENCY must be three letters, such as USD or EUR.", name="PENSTOCK_COSTS__CURRENCY"
        )
    if settings.telemetry.log_level.lower() not in ("debug", "info", "warning", "error", "critical"):
        raise BadSettings(
            "PENSTOCK_TELEMETRY__LOG_LEVEL must be debug, info, warning, error or critical.",
            name="PENSTOCK_TELEMETRY__LOG_LEVEL",
        )
    if settings.logs.level.lower() not in ("debug", "info", "warning", "error", "critical"):
        raise BadSettings(
            "PENSTOCK_LOGS__LEVEL must be debug, info, warning, error or critical.", name="PENSTOCK_LOGS__LEVEL"
        )
    if settings.alerts.smtp_security not in ("none", "starttls", "tls"):
        raise BadSettings(
            "PENSTOCK_ALERTS__SMTP_SECURITY must be none, starttls or tls.", name="PENSTOCK_ALERTS__SMTP_SECURITY"
        )
    if settings.alerts.language not in ("en", "zh"):
        raise BadSettings("PENSTOCK_ALERTS__LANGUAGE must be en or zh.", name="PENSTOCK_ALERTS__LANGUAGE")
    if settings.telemetry.worker_logs not in ("files", "stderr"):
        raise BadSettings(
            "PENSTOCK_TELEMETRY__WORKER_LOGS must be files or stderr.", name="PENSTOCK_TELEMETRY__WORKER_LOGS"
        )
    if settings.blobs.store not in ("files", "s3"):
        raise BadSettings("PENSTOCK_BLOBS__STORE must be files or s3.", name="PENSTOCK_BLOBS__STORE")
    if settings.blobs.store == "s3" and not settings.blobs.s3_bucket:
        raise BadSettings(
            "PENSTOCK_BLOBS__STORE is s3, and PENSTOCK_BLOBS__S3_BUCKET names no bucket.",
            name="PENSTOCK_BLOBS__S3_BUCKET",
        )
    _check_traces(settings.traces)
    if settings.blobs.s3_endpoint and not settings.blobs.s3_endpoint.startswith(("http://", "https://")):
        raise BadSettings(
            "PENSTOCK_BLOBS__S3_ENDPOINT must be a URL that begins with http:// or https://.",
            name="PENSTOCK_BLOBS__S3_ENDPOINT",
        )
    for name in ("notify", "inputs"):
        _check_networks(f"{PREFIX}{name.upper()}__ALLOWED_NETWORKS", getattr(settings, name).allowed_networks)
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
