"""The users of Redis: what their lines say, and that nothing dangerous is among what they may do."""

import re

import pytest

from inference.redisio import acl
from inference.redisio.client import DONE_CHANNEL, RESULT_KEY, SLOTS_KEY, WAKE_KEY
from workers import queues
from workers.launching import broker, roles

PASSWORDS = {"api": "a1", "worker": "b2", "monitor": "c3"}
NEVER = {
    "flushall", "flushdb", "config", "keys", "scan", "eval", "debug", "acl", "shutdown", "save", "bgsave", "replicaof",
    "slaveof", "module", "client", "script", "function", "monitor", "migrate", "restore", "dump", "swapdb", "rename",
    "latency", "memory", "cluster", "sync", "psync", "failover", "bgrewriteaof", "object", "copy", "move", "randomkey",
}  # fmt: skip


def test_a_line_for_each_user_and_nobody_without_a_password():
    lines = acl.lines(PASSWORDS)

    assert lines[0] == "user default reset"
    assert [line.split()[1] for line in lines[1:]] == ["api", "worker", "monitor"]
    assert all(re.match(r"user \w+ on #[0-9a-f]{64} ", line) for line in lines[1:])
    assert not any(password in line.split() for line in lines for password in PASSWORDS.values())


@pytest.mark.parametrize("user", acl.USERS)
def test_nobody_may_do_what_only_an_administrator_does(user):
    words = re.findall(r"[^\s()]+", acl.rules(user))
    commands = {word[1:] for word in words if word.startswith("+")}

    assert commands & NEVER == set()
    assert not any(word.startswith(("+@", "-")) for word in words)
    assert not {"~*", "&*", "allkeys", "allchannels", "allcommands", "nopass"} & set(words)


def test_only_the_workers_take_from_queues_and_only_the_api_counts_callers():
    selectors = {user: re.findall(r"\(([^)]*)\)", acl.rules(user)) for user in acl.USERS}

    takers = {user for user in acl.USERS for found in selectors[user] if "~svc." in found and "+brpop" in found}
    counters = {user for user in acl.USERS for found in selectors[user] if "~pst:wrong:" in found}

    assert takers == {"worker"}
    assert counters == {"api"}


def test_the_names_are_those_that_the_rest_of_the_house_uses():
    rules = " ".join(acl.rules(user) for user in acl.USERS)

    assert {f"~{SLOTS_KEY}*", f"~{WAKE_KEY}*", f"~{RESULT_KEY}*", f"&{DONE_CHANNEL}"} <= set(re.split(r"[\s()]", rules))
    assert queues.service_queue("x").startswith("svc.")
    assert queues.CONTROL_QUEUE == "control"
    assert acl.USERS == broker.USERS
    assert set(roles.BROKER_USERS.values()) == set(acl.USERS)
