"""The users of Redis and what each may do: the lines that the embedded broker and the compose file are given.

Needs ACL selectors: Valkey, or Redis 7 and newer. A rule in brackets is a selector: these commands on these keys and
channels, and no other pairing. What a script does is held against the same rules.
"""

import hashlib
from collections.abc import Mapping

from inference.redisio.client import (
    DONE_CHANNEL,
    EXPRESS_KEY,
    FIGURES_CHANNEL,
    FIGURES_KEY,
    PREDICTED_KEY,
    PROGRESS_KEY,
    RATE_KEY,
    RESULT_KEY,
    SLOTS_KEY,
    TOLD_CHANNEL,
    WAKE_KEY,
    WRONG_KEY,
)

API, WORKER, MONITOR = "api", "worker", "monitor"
USERS = (API, WORKER, MONITOR)

# Celery's and kombu's names. Fanout exchanges are channels, named after database 0.
_QUEUES = "~svc.* ~control*"
_BINDINGS = "~_kombu.binding.* ~_kombu.binding_permanent.* ~_kombu.binding_deadlines"
_QUEUE_BINDINGS = (
    "~_kombu.binding.svc.* ~_kombu.binding_permanent.svc.* ~_kombu.binding.control ~_kombu.binding_permanent.control"
)
_EVENTS = "&/0.celeryev/*"
_REMOTE_CONTROL = "&/0.celery.pidbox"

# What every client says when it connects, checks its connection, or sends several commands as one.
_ANY = "+ping +select +client|setinfo +client|setname +script|load +script|exists +multi +exec +discard +unwatch"
# One script touches all of these keys, so one selector must allow all that it does.
_SLOTS = (
    f"~{SLOTS_KEY}* ~{WAKE_KEY}* ~{EXPRESS_KEY}* +evalsha +hget +hset +hdel +expire +llen +lpush +rpop +zcard +zrem"
)
_PUBLISH_NEWS = f"(&{DONE_CHANNEL} +publish)"
_BIND = "+evalsha +sadd +srem +smembers +zadd +zrem +zrangebyscore +exists +del"

_RULES: Mapping[str, tuple[str, ...]] = {
    # Rings doorbells, keeps hot copies of what it cancels, hears of finished jobs and figures, counts what callers do.
    API: (
        f"{_ANY} +time",
        f"({_SLOTS} +zadd)",
        f"(~{RESULT_KEY}* +evalsha +get +mget +set)",
        f"(~{WRONG_KEY}* ~{RATE_KEY}* +evalsha +get +incr +incrby +expire +pexpire +pttl)",
        f"(&{DONE_CHANNEL} +publish +subscribe +unsubscribe)",
        f"(&{TOLD_CHANNEL}* +subscribe +unsubscribe)",
        f"(%R~{PROGRESS_KEY}* +mget) (%R~{FIGURES_KEY} +get) (&{FIGURES_CHANNEL} +subscribe +unsubscribe)",
        f"({_QUEUES} +lpush +llen)",
        f"({_QUEUE_BINDINGS} +sadd)",
    ),
    # Consumes the queues, announces results, answers remote control, tells of events.
    WORKER: (
        f"{_ANY} +time",
        f"({_SLOTS} +zrange +zremrangebyrank +get +set +del)",
        f"(~{WAKE_KEY}* +brpop)",
        f"(%W~{RESULT_KEY}* +set) (~{RESULT_KEY}* +evalsha)",  # what a script does needs its own leave
        _PUBLISH_NEWS,
        f"(&{TOLD_CHANNEL}* +publish)",
        f"(%W~{PROGRESS_KEY}* +set +del)",
        f"(%W~{FIGURES_KEY} +set) (&{FIGURES_CHANNEL} +publish) (~{PREDICTED_KEY} +lpush +rpop +expire)",
        f"({_QUEUES} ~*.celery.pidbox* +brpop +rpop +lpush +rpush +llen +del +exists +pexpire)",
        "(~unacked ~unacked_index ~unacked_mutex +evalsha +watch +zadd +zrem +zrange +hget +hset +hdel +get +set +del)",
        f"({_BINDINGS} {_BIND})",
        # Nobody asks for results, but Celery leaves one for a task that it does not know.
        "(~celery-task-meta-* &celery-task-meta-* +get +set +setex +publish)",
        f"({_EVENTS} +publish)",
        f"({_REMOTE_CONTROL} +psubscribe +punsubscribe)",
    ),
    # Flower and health checks: hears events, asks workers, sees how long queues are. It takes nothing from a queue.
    MONITOR: (
        f"{_ANY} +time +info",
        "(%R~svc.* %R~control* +llen)",
        "(~*.reply.celery.pidbox* ~celeryev.* +brpop +rpop +llen +del +exists +pexpire)",
        f"({_BINDINGS} {_BIND})",
        f"({_EVENTS} +psubscribe +punsubscribe)",
        f"({_REMOTE_CONTROL} +publish)",
    ),
}


def rules(user: str) -> str:
    """What the user may do, in the words of `ACL SETUSER`. Nothing else, so no FLUSHALL, CONFIG, KEYS, EVAL or ACL."""
    return " ".join(_RULES[user])


def line(user: str, secret: str) -> str:
    """A line of a configuration. `secret`: `>` and a password, or what `hashed` gives."""
    return f"user {user} on {secret} {rules(user)}"


def hashed(password: str) -> str:
    """A secret that can be written to a file: passwords are random, so one round of SHA-256 is enough."""
    return "#" + hashlib.sha256(password.encode()).hexdigest()


def lines(passwords: Mapping[str, str]) -> list[str]:
    """The whole list for a configuration file: a user for each password, and nobody without one."""
    return ["user default reset", *(line(user, hashed(passwords[user])) for user in USERS)]
