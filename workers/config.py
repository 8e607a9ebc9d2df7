"""Celery's configuration, from our settings. Each line that is not plain has cost somebody a day."""

from typing import Any

from inference.redisio import tls
from inference.settings import Settings
from workers.publisher import broker_tls
from workers.queues import CONTROL_QUEUE

FLOWER = "flower"
REDIS_SCHEMES = ("redis://", "rediss://", "valkey://", "redis+socket://")


def celery_config(settings: Settings) -> dict[str, Any]:
    """For `Celery.conf.update`."""
    url = tls.spelled_out(settings.broker_url, settings.redis) or "redis://127.0.0.1:6379/0"
    config: dict[str, Any] = {
        "broker_url": url,
        # Said in full, here and in the URL: without, kombu would encrypt, and check nothing.
        "broker_use_ssl": broker_tls(settings),
        "result_backend": tls.without_options(settings.redis_url) or None,
        "redis_backend_use_ssl": tls.options(settings.redis_url, settings.redis) or None,
        # A result backend with results on would subscribe at every publish and never unsubscribe.
        "task_ignore_result": True,
        "task_store_errors_even_if_ignored": False,
        "accept_content": ["json"],
        "task_serializer": "json",
        "result_serializer": "json",
        # Doorbells are acknowledged early: with late ones a reconnect of the broker kills the worker.
        "task_acks_late": False,
        "worker_prefetch_multiplier": 1,
        "worker_disable_prefetch": url.startswith(REDIS_SCHEMES),
        "worker_pool_start_method": "spawn",
        # Replaced and grown children have this long to load their model; 4 s, the default, would kill them for ever.
        "worker_proc_alive_timeout": settings.serving.load_deadline_s,
        "worker_cancel_long_running_tasks_on_connection_loss": False,
        "worker_hijack_root_logger": False,
        "worker_redirect_stdouts": False,
        "worker_send_task_events": settings.telemetry.job_events,
        "broker_connection_retry_on_startup": True,
        "broker_connection_max_retries": None,
        # A Redis whose disk is full refuses writes: no reason for a worker to end.
        "broker_channel_error_retry": True,
        "broker_heartbeat": 30,
        "task_default_queue": CONTROL_QUEUE,
        "task_create_missing_queues": True,
        "enable_utc": True,
        "timezone": "UTC",
    }
    if url.startswith(REDIS_SCHEMES):
        config["broker_transport_options"] = {
            "priority_steps": list(range(10)),
            "queue_order_strategy": "priority",
            "socket_timeout": settings.redis.socket_timeout_s,
            "socket_connect_timeout": settings.redis.connect_timeout_s,
            "socket_keepalive": True,
            "health_check_interval": 15,
            # Flower consumes nothing that must be acknowledged, and need not touch what others have not yet.
            "ack_emulation": settings.process.role != FLOWER,
        }
    return config
