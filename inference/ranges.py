"""What the numbers among the settings may be. Every one has its line here; a test sees to it."""

from collections.abc import Iterator, Mapping
from typing import TypeAlias

DAY_S = 86_400.0
CENTURY_S = 36_525 * DAY_S
MOST_BYTES = 1 << 60

Range: TypeAlias = tuple[float, float]

PORT: Range = (0, 65_535)

RANGES: dict[str, dict[str, Range]] = {
    "store": {
        "gate_timeout_s": (0.01, 600),
        "pool_size": (1, 1000),
        "connect_timeout_s": (0.1, 600),
        "answer_timeout_s": (0, 3600),
        "sqlite_cache_kb": (100, 100_000_000),
    },
    "redis": {
        "socket_timeout_s": (0.05, 600),
        "connect_timeout_s": (0.05, 600),
        "breaker_s": (0, 600),
        "publish_timeout_s": (0.01, 60),
    },
    "jobs": {
        "max_attempts": (1, 100),
        "head_start_s": (0, 1_000_000_000),
        "timeout_s": (0.001, DAY_S),
        "backlog_limit": (1, 1_000_000_000),
        "commit_rows": (1, 10_000),
        "commit_bytes": (1, 1 << 30),
        "batch_limit": (1, 1_000_000),
        "idempotency_keep_s": (1, CENTURY_S),
        "retry_base_s": (0, DAY_S),
        "retry_cap_s": (0, DAY_S),
        "express_limit": (1, 1_000_000),
        "express_share": (0.01, 0.99),
    },
    "results": {
        "hot_ttl_s": (1, 30 * DAY_S),
        "hot_max_bytes": (0, 1 << 26),
        "keep_s": (0, CENTURY_S),
        "inline_bytes": (1, 1 << 30),
    },
    "blobs": {"s3_timeout_s": (0.1, 3600), "cache_bytes": (0, MOST_BYTES), "grace_s": (1, CENTURY_S)},
    "inputs": {"keep_s": (0, CENTURY_S), "fetches": (1, 64), "fetch_timeout_s": (0.1, 300)},
    "scaling": {"keep_s": (60, CENTURY_S)},
    "workers": {
        "lease_s": (1, 3600),
        "renew_s": (0.1, 1800),
        "linger_ms": (0, 60_000),
        "quantum_s": (0.1, 3600),
        "poll_s": (0.05, 3600),
        "claim_ahead_ms": (0, 60_000),
        "stop_grace_s": (0, 3600),
        "metrics_port": PORT,
    },
    "serving": {
        "load_deadline_s": (1, DAY_S),
        "load_attempts": (1, 1000),
        "reconcile_s": (0.05, 3600),
        "node_poll_s": (0.01, 3600),
        "node_silence_s": (1, DAY_S),
        "replica_silence_s": (1, DAY_S),
        "restart_backoff_cap_s": (0, DAY_S),
        "fallback_after_s": (0, DAY_S),
        "residency_s": (0, DAY_S),
        "evictions": (1, 10_000),
        "ageing_s": (0, DAY_S),
        "unload_s": (0, 600),
    },
    "engines": {
        "objective_ms": (0.1, 3_600_000),
        "max_batch": (1, 65_536),
        "profile_budget_s": (0, 3600),
        "threads": (1, 256),
    },
    "registry": {
        "validate_memory_bytes": (1 << 20, MOST_BYTES),
        "validate_timeout_s": (0.1, DAY_S),
        "upload_limit_bytes": (1, MOST_BYTES),
    },
    "resources": {"probe_s": (0.1, 60)},
    "access": {
        "refresh_s": (0, 3600),
        "stale_s": (0, DAY_S),
        "wrong_keys_per_minute": (1, 1_000_000_000),
        "requests_per_s": (0, 1_000_000_000),
        "bytes_stored": (0, MOST_BYTES),
        "gpu_seconds_per_day": (0, 1_000_000_000_000),
        "share_every_s": (0.01, 3600),
    },
    "api": {
        "port": PORT,
        "workers": (1, 1024),
        "threads": (1, 4096),
        "inline_limit_bytes": (1, 1 << 30),
        "body_limit_bytes": (1, 1 << 32),
        "wait_limit_s": (0, 3600),
        "waiting_per_caller": (0, 1_000_000),
        "live_processes": (1, 64),
    },
    "backup": {"every_s": (0, CENTURY_S), "keep": (1, 10_000)},
    "reports": {"keep_s": (3600, CENTURY_S), "waiting": (1, 10_000), "lease_s": (5, 3600)},
    "costs": {"sample_s": (1, 3600), "refresh_s": (0.1, 3600)},
    "telemetry": {
        "keep_seconds_s": (120, 30 * DAY_S),
        "keep_minutes_s": (7200, CENTURY_S),
        "keep_hours_s": (DAY_S, CENTURY_S),
    },
    "traces": {"sample": (0, 1), "queue": (100, 1_000_000), "timeout_s": (0.1, 60)},
    "logs": {
        "keep_s": (60, CENTURY_S),
        "keep_rows": (1_000, 1_000_000_000),
        "queue": (100, 1_000_000),
        "file_bytes": (65_536, MOST_BYTES),
        "files": (1, 1000),
    },
    "alerts": {
        "every_s": (0.5, 300),
        "keep_s": (60, CENTURY_S),
        "smtp_port": (1, 65_535),
        "smtp_timeout_s": (0.1, 300),
    },
    "notify": {
        "senders": (1, 1000),
        "timeout_s": (0.1, 3600),
        "lease_s": (1, DAY_S),
        "keep_s": (0, CENTURY_S),
    },
}


def refusals(rooms: Mapping[str, object]) -> Iterator[tuple[str, str]]:
    """(`room.name`, what is wrong with it), for each number that is not as it must be. NaN never is."""
    for room, values in rooms.items():
        for name, (low, high) in RANGES.get(room, {}).items():
            value = getattr(values, name, low)
            if not low <= value <= high:
                yield f"{room}.{name}", f"must be {_between(low, high)}, not {_plain(value)}"
    workers = rooms["workers"]
    if getattr(workers, "renew_s", 0) >= getattr(workers, "lease_s", 1):
        yield "workers.renew_s", "must be less than workers.lease_s: a lease is renewed before it ends"


def _between(low: float, high: float) -> str:
    if (low, high) == PORT:
        return "a port, 0 to 65535 (0 takes a free one)"
    return f"from {_plain(low)} to {_plain(high)}"


def _plain(number: float) -> str:
    """Without exponents where it is whole."""
    return str(int(number)) if number == number // 1 and abs(number) < 1 << 63 else f"{number:g}"
