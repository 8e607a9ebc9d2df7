"""The settings of each room, with the defaults that work on a laptop without services; `settings` reads them."""

from dataclasses import dataclass, field


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
    """`hot_ttl_s`: life of the copy in Redis. `keep_s`: life of a finished job in SQL; 0 keeps it for good.

    `inline_bytes`: a longer result lies in the blob store, and the task shows a reference to it.
    """

    hot_ttl_s: float = 60.0
    hot_max_bytes: int = 16_384
    keep_s: float = 604_800.0
    inline_bytes: int = 1_048_576


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
    """`replica_silence_s`: a replica whose worker has not reported for this long is started again.

    `fallback_after_s`: how long a task waits at a service without room before its fallback gets it.
    `residency_s`: so long nobody is put out who has just got a place. `evictions`: replicas that may be on their way
    out for others at once. `ageing_s`: so long a wait counts as one level of priority in the order of placement; 0
    never. `unload_s`: how long a driver has to give a card's memory back.
    """

    load_deadline_s: float = 120.0
    load_attempts: int = 3
    reconcile_s: float = 1.0
    node_poll_s: float = 0.25
    node_silence_s: float = 15.0
    replica_silence_s: float = 20.0
    restart_backoff_cap_s: float = 15.0
    fallback_after_s: float = 5.0
    residency_s: float = 60.0
    evictions: int = 8
    ageing_s: float = 300.0
    unload_s: float = 3.0


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
class BlobsSettings:
    """Where artefacts, uploads and large results lie. `store`: files (under the data folder) or s3.

    `s3_endpoint`: URL of an S3-compatible server; empty: AWS. `s3_prefix`: what our objects' names begin with.
    `cache_bytes`: local copies of objects that are kept. `grace_s`: so long what no row names is left where it is.
    """

    store: str = "files"
    s3_endpoint: str = ""
    s3_region: str = "us-east-1"
    s3_bucket: str = ""
    s3_prefix: str = "penstock/"
    s3_access_key: str = field(default="", repr=False)
    s3_secret_key: str = field(default="", repr=False)
    s3_timeout_s: float = 30.0
    cache_bytes: int = 10 << 30
    grace_s: float = 3_600.0


@dataclass(frozen=True, slots=True, kw_only=True)
class InputsSettings:
    """Uploads, and inputs that are fetched from elsewhere. `keep_s`: life of an upload; 0 keeps it for good.

    `allowed_networks`: CIDRs, separated by commas, that an `input_ref` of http may reach though they are not public.
    `s3_buckets`: those that an `input_ref` of s3:// may name, separated by commas; everybody who may submit reads all
    of them. `fetches`: how many inputs a process fetches at once; `fetch_timeout_s`: how long one may take.
    """

    keep_s: float = 604_800.0
    allowed_networks: str = ""
    s3_buckets: str = ""
    fetches: int = 4
    fetch_timeout_s: float = 10.0


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
    """`job_events`: whether Flower is told of each job, one message a batch. `worker_logs`: files, or stderr.

    `is_sampled`: whether the control process measures the services. For how long it keeps the figures of each second,
    minute and hour: `keep_seconds_s`, `keep_minutes_s`, `keep_hours_s`.
    """

    log_level: str = "info"
    log_format: str = "json"
    job_events: bool = False
    worker_logs: str = "files"
    is_sampled: bool = True
    keep_seconds_s: float = 3_600.0
    keep_minutes_s: float = 604_800.0
    keep_hours_s: float = 34_560_000.0


@dataclass(frozen=True, slots=True, kw_only=True)
class TracesSettings:
    """`endpoint`: where a collector takes OTLP over HTTP; empty: there are no traces, and they cost nothing.

    `sample`: share of the requests that are traced, 0 to 1, where the client's `traceparent` does not say. `headers`:
    sent along, `name=value` separated by commas. `queue`: spans of a process that may wait for the collector; what
    comes then is dropped, and counted.
    """

    endpoint: str = ""
    headers: str = field(default="", repr=False)
    sample: float = 1.0
    queue: int = 10_000
    timeout_s: float = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class ResourcesSettings:
    """`purchase`: how the devices of this node are paid for: on_demand, reserved or spot; it decides their price.

    `devices`: the devices of this host, where no driver tells them: a JSON list of {uuid, name, memory}. `replay`: a
    recording (`penstock gpus --record`) that stands in for its cards. `probe_s`: how often devices are read.
    """

    purchase: str = "on_demand"
    devices: str = ""
    replay: str = ""
    probe_s: float = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class CostsSettings:
    """`sample_s`: how often what replicas hold is counted. `currency`: what all prices and budgets are in.

    `refresh_s`: how old a process's knowledge of used up budgets may be.
    """

    sample_s: float = 15.0
    currency: str = "USD"
    refresh_s: float = 2.0


@dataclass(frozen=True, slots=True, kw_only=True)
class ScalingSettings:
    """`keep_s`: how long a decision of the autoscaler is shown."""

    keep_s: float = 2_592_000.0


@dataclass(frozen=True, slots=True, kw_only=True)
class LogsSettings:
    """`is_kept`: whether entries go to the log store, beside stderr; `level`: from which on.

    The store keeps entries for `keep_s`, and `keep_rows` at most. `queue`: entries of a process that may wait for the
    database; what comes then is shed, and counted. A log file is rotated at `file_bytes`; `files` older ones are kept.
    """

    is_kept: bool = True
    level: str = "info"
    keep_s: float = 1_209_600.0
    keep_rows: int = 1_000_000
    queue: int = 10_000
    file_bytes: int = 33_554_432
    files: int = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class AlertsSettings:
    """`every_s`: how often rules are looked at; `keep_s`: how long a resolved alert is shown.

    `email_to` (addresses, separated by commas) and `webhook_url` are told by the rules that ship with Penstock.
    E-mail goes through `smtp_host`, empty: none is sent; `smtp_security`: none, starttls or tls. `language` (en, zh):
    of what is sent.
    """

    is_evaluated: bool = True
    every_s: float = 5.0
    keep_s: float = 7_776_000.0
    language: str = "en"
    email_to: str = ""
    webhook_url: str = ""
    smtp_host: str = ""
    smtp_port: int = 587
    smtp_security: str = "starttls"
    smtp_user: str = ""
    smtp_password: str = field(default="", repr=False)
    smtp_from: str = "penstock@localhost"
    smtp_timeout_s: float = 15.0


@dataclass(frozen=True, slots=True, kw_only=True)
class BackupSettings:
    """`every_s`: how often beat takes a snapshot of the configuration, if it has changed; 0 never. `keep`: of these."""

    every_s: float = 86_400.0
    keep: int = 14


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportsSettings:
    """`keep_s`: how long a report is kept. `waiting`: reports of a tenant that may wait to be made.

    `lease_s`: how long one process has to make a report; it is ended then. `base_url`: where people reach the system,
    for links in files that are mailed or printed.
    """

    keep_s: float = 7_776_000.0
    waiting: int = 20
    lease_s: float = 120.0
    base_url: str = ""
