"""The reconciler's plan: a table of situations in, actions out."""

import dataclasses
from dataclasses import replace

import pytest

from inference.serving.actions import AddReplica, DrainReplica, Explain, MoveService, RemoveReplica, ResizeReplica
from inference.serving.model import (
    AutoScaling,
    Desired,
    Node,
    Observed,
    Replica,
    Requirements,
    Service,
    ServiceConfig,
    ServiceState,
)
from inference.serving.reconcile import plan

S = ServiceState


def service(state=S.RUNNING, *, replicas=1, revision=1, requirements=None, scales=False, idle_ttl_s=None, **more):
    config = ServiceConfig(
        replicas=replicas,
        requirements=requirements or Requirements(),
        auto_scaling=AutoScaling(enabled=scales),
        idle_ttl_s=idle_ttl_s,
    )
    values = {"id": "s", "tenant_id": "t", "name": "s", "model_id": "m", "created_at": 0.0, "updated_at": 0.0}
    return Service(**(values | {"state": state, "config": config, "revision": revision} | more))


def replica(ordinal, observed=Observed.READY, *, desired=Desired.RUNNING, revision=1, node_id="n1", **more):
    return Replica(
        **{
            "id": f"r{ordinal}",
            "service_id": "s",
            "ordinal": ordinal,
            "node_id": node_id,
            "device": "cpu",
            "desired": desired,
            "observed": observed,
            "generation": 1,
            "revision": revision,
            "instances": 1,
            "instances_ready": 1,
            "load_failures": 0,
            "restarts": 0,
        }
        | more
    )


def node(name="n1", *, is_alive=True, cpus=2):
    return Node(
        id=name, host=name, inventory={"cpus": cpus, "memory_bytes": 1 << 33}, heartbeat_at=0.0, is_alive=is_alive
    )


def kinds(actions):
    """Actions as short texts: a table of cases is read more easily so."""
    names = {
        AddReplica: lambda a: f"add {a.ordinal}@{a.node_id}",
        DrainReplica: lambda a: f"drain {a.replica_id}",
        ResizeReplica: lambda a: f"resize {a.replica_id} to {a.instances}",
        RemoveReplica: lambda a: f"remove {a.replica_id}",
        MoveService: lambda a: f"-> {a.to.value}",
        Explain: lambda a: f"explain {'again well' if a.reason is None else a.reason}",
    }
    return [names[type(action)](action) for action in actions]


NODE = [node()]
STOPPED = Desired.STOPPED

CASES = {
    "a fresh service gets its replicas": (
        service(S.DEPLOYING, replicas=2), [], NODE, ["add 0@n1", "add 1@n1"],
    ),
    "it waits while they start": (
        service(S.DEPLOYING), [replica(0, Observed.STARTING)], NODE, [],
    ),
    "a target stands in for the config": (
        service(replicas=1, scales=True, target_replicas=2), [replica(0)], NODE, ["add 1@n1"],
    ),
    "a target of instances resizes the replica that is there": (
        service(scales=True, target_replicas=1, target_instances=3), [replica(0)], NODE, ["resize r0 to 3"],
    ),
    "a target of none drains all, and the service runs on": (
        service(scales=True, target_replicas=0), [replica(0)], NODE, ["drain r0"],
    ),
    "a resting service needs no autoscaler": (
        service(idle_ttl_s=60, target_replicas=0), [replica(0)], NODE, ["drain r0"],
    ),
    "a target of an autoscaler that was switched off counts for nothing": (
        service(replicas=1, target_replicas=3, target_instances=3), [replica(0)], NODE, [],
    ),
    "it runs when one is ready": (
        service(S.DEPLOYING, replicas=2), [replica(0), replica(1, Observed.STARTING)], NODE, ["-> running"],
    ),
    "a settled service needs nothing": (
        service(replicas=2), [replica(0), replica(1)], NODE, [],
    ),
    "it runs on while its replica starts again": (
        service(), [replica(0, Observed.PENDING)], NODE, [],
    ),
    "zero replicas wanted is running with nothing": (
        service(S.DEPLOYING, replicas=0), [], NODE, ["-> running"],
    ),
    "scaling to zero drains all and stays running": (
        service(replicas=0), [replica(0)], NODE, ["drain r0"],
    ),
    "scaling out adds the missing": (
        service(replicas=3), [replica(0)], NODE, ["add 1@n1", "add 2@n1"],
    ),
    "scaling in drains the highest": (
        service(replicas=1), [replica(0), replica(1), replica(2)], NODE, ["drain r2", "drain r1"],
    ),
    "scaling in drains what does not serve first": (
        service(replicas=1), [replica(0, Observed.STARTING), replica(1)], NODE, ["drain r0"],
    ),
    "what drains is left to drain": (
        service(replicas=1), [replica(0), replica(1, Observed.DRAINING, desired=STOPPED)], NODE, [],
    ),
    "what is gone is removed": (
        service(replicas=1), [replica(0), replica(1, Observed.STOPPED, desired=STOPPED)], NODE, ["remove r1"],
    ),
    "an ordinal in use is not given twice": (
        service(replicas=1), [replica(0, Observed.DRAINING, desired=STOPPED)], NODE, ["add 1@n1"],
    ),
    "stopping drains": (
        service(S.STOPPING), [replica(0)], NODE, ["drain r0"],
    ),
    "stopping waits": (
        service(S.STOPPING), [replica(0, Observed.DRAINING, desired=STOPPED)], NODE, [],
    ),
    "stopping removes": (
        service(S.STOPPING), [replica(0, Observed.STOPPED, desired=STOPPED)], NODE, ["remove r0"],
    ),
    "stopping ends when all are gone": (
        service(S.STOPPING), [], NODE, ["-> stopped"],
    ),
    "a replica that never started needs no draining": (
        service(S.STOPPING), [replica(0, Observed.PENDING, desired=STOPPED)], NODE, ["remove r0"],
    ),
    "a model that cannot load is an error": (
        service(S.DEPLOYING), [replica(0, Observed.FAILED)], NODE, ["drain r0", "-> error"],
    ),
    "also in a service that ran": (
        service(), [replica(0, Observed.FAILED)], NODE, ["drain r0", "-> error"],
    ),
    "hope is left while another one starts": (
        service(replicas=2), [replica(0, Observed.FAILED, reason="bad"), replica(1, Observed.STARTING)], NODE,
        ["explain Replica 0 does not run: bad"],
    ),
    "a failed one beside a ready one is explained": (
        service(replicas=2), [replica(0, Observed.FAILED, reason="bad"), replica(1)], NODE,
        ["explain Replica 0 does not run: bad"],
    ),
    "a load that failed so far is told": (
        service(S.DEPLOYING), [replica(0, Observed.STARTING, load_failures=1, reason="bad")], NODE,
        ["explain Replica 0 has not loaded the model yet: bad"],
    ),
    "a worker that keeps ending is told": (
        service(), [replica(0, Observed.PENDING, restarts=3, reason="code 1")], NODE,
        ["explain Replica 0 keeps ending: code 1"],
    ),
    "one that ended once is not": (
        service(), [replica(0, Observed.PENDING, restarts=1, reason="code 1")], NODE, [],
    ),
    "an error leaves no replica behind": (
        service(S.ERROR), [replica(0, Observed.FAILED, desired=STOPPED)], NODE, ["remove r0"],
    ),
    "restart begins with one new replica": (
        service(replicas=2, revision=2), [replica(0), replica(1)], NODE, ["add 2@n1"],
    ),
    "restart waits for the new one": (
        service(replicas=2, revision=2), [replica(0), replica(1), replica(2, Observed.STARTING, revision=2)], NODE, [],
    ),
    "restart drains an old one when the new one is ready, and begins the next": (
        service(replicas=2, revision=2), [replica(0), replica(1), replica(2, revision=2)], NODE,
        ["drain r0", "add 3@n1"],
    ),
    "restart ends with the last old one": (
        service(replicas=1, revision=2), [replica(0), replica(1, revision=2)], NODE, ["drain r0"],
    ),
    "an old replica that does not serve is not waited for": (
        service(replicas=1, revision=2), [replica(0, Observed.STARTING)], NODE, ["drain r0", "add 1@n1"],
    ),
    "a new revision that cannot load leaves the old one serving": (
        service(replicas=1, revision=2),
        [replica(0), replica(1, Observed.FAILED, revision=2, reason="bad")], NODE,
        ["explain Replica 1 does not run: bad"],
    ),
    "an old failure is replaced after a restart": (
        service(replicas=1, revision=2), [replica(0, Observed.FAILED)], NODE,
        ["drain r0", "add 1@n1"],
    ),
    "a replica of a silent node begins elsewhere": (
        service(), [replica(0, node_id="n2")], [node(), node("n2", is_alive=False)], ["remove r0", "add 1@n1"],
    ),
    "or waits for its node if there is no elsewhere": (
        service(), [replica(0)], [node(is_alive=False)],
        ["explain No node is alive: none has sent a heartbeat lately."],
    ),
    "what should stop on a silent node is given up": (
        service(S.STOPPING), [replica(0, Observed.DRAINING, desired=STOPPED)], [node(is_alive=False)], ["remove r0"],
    ),
    "a replica on a silent node does not count as ready": (
        service(S.DEPLOYING), [replica(0)], [node(is_alive=False)],
        ["explain No node is alive: none has sent a heartbeat lately."],
    ),
    "no node at all leaves it deploying, with the reason": (
        service(S.DEPLOYING), [], [], ["explain No node is alive: none has sent a heartbeat lately."],
    ),
    "no room as well": (
        service(S.DEPLOYING, requirements=Requirements(cpu=4)), [], NODE,
        ["explain No node has room for 4 CPUs and 0.0 GiB: at most 2 CPUs and 8.0 GiB is free."],
    ),
    "what was explained is taken back when it is over": (
        service(reason="no room", suggested_action="wait"), [replica(0)], NODE, ["explain again well"],
    ),
    "a preempted service gives its replicas back": (
        service(S.PREEMPTED), [replica(0)], NODE, ["drain r0"],
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
def test_the_plan_is_as_the_table_says(case):
    wanted, replicas, nodes, expected = case

    assert kinds(plan([wanted], replicas, nodes)) == expected


def test_without_room_for_one_more_an_old_replica_goes_first():
    wanted = service(replicas=2, revision=2, requirements=Requirements(cpu=1))

    first = plan([wanted], [replica(0), replica(1)], NODE)
    waiting = plan([wanted], [replica(0, Observed.DRAINING, desired=STOPPED), replica(1)], NODE)
    second = plan([wanted], [replica(1)], NODE)

    assert kinds(first) == ["drain r0"]
    assert "drain r1" not in kinds(waiting)
    assert kinds(second) == ["add 0@n1"]


def test_an_error_carries_the_reason_of_the_load_and_an_advice():
    actions = plan([service(S.DEPLOYING)], [replica(0, Observed.FAILED, reason="no such operator: Foo")], NODE)

    move = actions[-1]

    assert isinstance(move, MoveService)
    assert move.reason == "no such operator: Foo"
    assert move.suggested_action is not None


def test_the_same_trouble_is_explained_once():
    troubled = service(S.DEPLOYING)
    (said,) = plan([troubled], [], [])
    assert isinstance(said, Explain)

    again = plan([replace(troubled, reason=said.reason, suggested_action=said.suggested_action)], [], [])

    assert again == []


def test_replicas_of_a_deleted_service_are_drained_and_removed():
    stray = [replica(0), replica(1, Observed.STOPPED, desired=STOPPED)]

    assert kinds(plan([], stray, NODE)) == ["remove r1", "drain r0"]


def test_two_services_of_one_plan_do_not_take_the_same_room():
    one = service(S.DEPLOYING, requirements=Requirements(cpu=2))
    two = dataclasses.replace(one, id="s2")

    actions = plan([one, two], [], NODE)

    assert kinds(actions)[0] == "add 0@n1"
    assert isinstance(actions[1], Explain)
    assert actions[1].service_id == "s2"


def test_a_rolling_restart_settles_and_never_serves_with_less():
    wanted = service(replicas=3, revision=2)
    there = {r.id: r for r in (replica(0), replica(1), replica(2))}
    rounds = 0

    while actions := plan([wanted], list(there.values()), NODE):
        there = carry_out(actions, there, rounds)
        rounds += 1
        assert sum(r.observed is Observed.READY and r.desired is Desired.RUNNING for r in there.values()) >= 3
        there = {key: replace(r, observed=Observed.READY if r.desired is Desired.RUNNING else Observed.STOPPED)
                 for key, r in there.items()}  # fmt: skip

    assert [r.revision for r in there.values()] == [2, 2, 2]
    assert rounds < 10


def carry_out(actions, there, number):
    """The rows after the actions, as the store would hold them."""
    rows = dict(there)
    for action in actions:
        if isinstance(action, AddReplica):
            added = replica(action.ordinal, Observed.PENDING, revision=action.revision, id=f"new{number}")
            rows[added.id] = added
        elif isinstance(action, DrainReplica):
            rows[action.replica_id] = replace(rows[action.replica_id], desired=STOPPED)
        elif isinstance(action, RemoveReplica):
            del rows[action.replica_id]
    return rows
