"""What may be asked of a running worker by remote control: in production mode only what somebody here uses."""

from inference.settings import Settings

USED = frozenset({
    "ping", "stats", "conf", "active_queues", "registered", "scheduled", "active", "reserved", "revoked",
    "enable_events", "heartbeat",
})  # fmt: skip
"""What Flower asks, and `ping`. No command of these changes what a worker does, but for telling of its events."""


def narrow(settings: Settings) -> None:
    """In production mode, takes every other command from all workers of this process. Call it before one starts.

    A command that is gone is answered with an error; it does nothing. Whoever reaches the broker could otherwise end
    workers or take their work, without any key.
    """
    if settings.mode != "production":
        return
    from celery.worker.control import Panel

    for name in set(Panel.data) - USED:
        del Panel.data[name]
