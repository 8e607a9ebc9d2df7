"""Other processes that tests need: `python -m tests.contract.processes VERB ...`; each prints one JSON line."""

import dataclasses
import json
import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from random import Random
from typing import Any

import sqlalchemy as sa

from inference.access import token
from inference.access.model import ApiKey, Role, Scope
from inference.errors import PenstockError, StoreUnavailable
from inference.ids import DEFAULT_TENANT
from inference.jobs.commit import GroupCommit
from inference.jobs.submit import deadline_passed
from inference.resources.fit import Size
from inference.resources.leases import Ask
from inference.settings import JobsSettings, StoreSettings
from inference.store.database import Database
from inference.store.gate import Gate
from inference.store.jobs import SqlJobs
from inference.store.keys import SqlKeys
from inference.store.leases import SqlLeases
from inference.store.replicas import SqlReplicas
from inference.wiring import Silence
from tests.contract import jobs
from tests.contract.serving import make_replica
from tests.services import die_with_tests

ROOT = Path(__file__).parents[2]


def spawn(verb: str, *arguments: object) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-m", "tests.contract.processes", verb, *map(str, arguments)],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        preexec_fn=die_with_tests,
    )


def answer(process: "subprocess.Popen[str]", *, timeout_s: float = 60) -> Any:
    """What the process printed, once it has ended well."""
    out, _ = process.communicate(timeout=timeout_s)
    assert process.returncode == 0
    return json.loads(out.splitlines()[-1])


def release_together(processes: "list[subprocess.Popen[str]]") -> None:
    """Waits until each is ready, then lets all go."""
    for process in processes:
        assert wait_for_line(process) == "ready"
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()


def wait_for_line(process: "subprocess.Popen[str]") -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def discard(process: "subprocess.Popen[str]") -> None:
    """Ends it whatever state it is in, and closes its pipes."""
    process.kill()
    process.communicate()


def submit(url: str, n: str, size: str) -> list[str]:
    """Commits n jobs in groups of `size`; the ids that were acknowledged."""
    store = SqlJobs(Database(url, StoreSettings(gate_timeout_s=10.0)))
    acknowledged: list[str] = []
    for _ in range(0, int(n), int(size)):
        answers = store.insert([jobs.alone(jobs.job()) for _ in range(int(size))])
        acknowledged += [job_id for accepted in answers for job_id in accepted.job_ids]  # type: ignore[union-attr]
    return acknowledged


def work(url: str, expected: str, max_rows: str) -> list[tuple[str, int]]:
    """Claims and finishes until `expected` jobs are final; (id, attempt) of all that this process ran."""
    database = Database(url, StoreSettings(gate_timeout_s=10.0))
    store, by = SqlJobs(database), jobs.add_instance(database)
    _wait_for_go()
    ran: list[tuple[str, int]] = []
    held, end = store.claim(by, max_rows=int(max_rows)).jobs, time.monotonic() + 45
    while time.monotonic() < end:
        if not held:
            if _completed(database) >= int(expected):
                return ran
            time.sleep(0.01)
        ran += [(claimed.id, claimed.attempt) for claimed in held]
        _, claim = store.finish(by, [jobs.completed(claimed) for claimed in held], max_rows=int(max_rows))
        held = claim.jobs
    return ran


def _completed(database: Database) -> int:
    """Counted anew each time, as the store's own count of final states is not."""
    with database.read() as connection:
        return int(connection.execute(sa.text("SELECT count(*) FROM jobs WHERE state = 'completed'")).scalar_one())


def keyed(url: str, key: str, threads: str, late: str) -> list[Any]:
    """Sends one body under one key from that many threads at once; the ids, or the code of the refusal, of each.

    `late`: 1 when the deadline passed between the client's first try and this one.
    """
    store = SqlJobs(Database(url, StoreSettings(gate_timeout_s=20.0)))
    refusal = deadline_passed() if late == "1" else None
    commit = GroupCommit(store, Silence(), JobsSettings())

    def send(_: int) -> Any:
        plain = jobs.alone(jobs.job(), key=key, body_hash=b"same")
        try:
            return list(commit(dataclasses.replace(plain, refusal=refusal)).job_ids)
        except PenstockError as error:
            return error.code

    _wait_for_go()
    with ThreadPoolExecutor(int(threads)) as pool:
        return list(pool.map(send, range(int(threads))))


def hold(path: str) -> None:
    """Takes the gate, says so, and keeps it until a line comes in."""
    with Gate(Path(path), timeout_s=10.0).turn():
        print("held", flush=True)
        sys.stdin.readline()


def hammer(path: str, seconds: str) -> dict[str, float]:
    """Takes the gate again and again, each time adding one to a number in a file that nothing else guards."""
    gate, number = Gate(Path(path), timeout_s=5.0), Path(f"{path}.number")
    turns, longest = 0, 0.0
    _wait_for_go()
    end = time.monotonic() + float(seconds)
    while (asked := time.monotonic()) < end:
        with gate.turn():
            longest = max(longest, time.monotonic() - asked)
            value = int(number.read_text())
            time.sleep(0.001)
            number.write_text(str(value + 1))
        turns += 1
    return {"turns": turns, "longest_s": longest}


def first_key(url: str) -> bool:
    """Whether this process made the system's first key."""
    database = Database(url, StoreSettings(gate_timeout_s=10.0))
    made = token.make()
    key = ApiKey(id=made.id, name="first", role=Role.ADMIN, scope=Scope(DEFAULT_TENANT), is_system=True)
    _wait_for_go()
    return SqlKeys(database).insert(key, made.digest, only_first=True)


def contend(url: str, workers: str, turns: str) -> dict[str, int]:
    """So many processes ask for room at once; what they were told, added up."""
    with get_context("fork").Pool(int(workers)) as pool:
        told = pool.starmap(_contend, [(url, number, int(turns)) for number in range(int(workers))], chunksize=1)
    return {name: sum(one[name] for one in told) for name in told[0]}


def _contend(url: str, number: int, turns: int) -> dict[str, int]:
    """Asks for room on one node so many times, at times in somebody's place, and gives most of it back.

    What it asks for it has just seen to be free, so that a refusal means that another was quicker.
    """
    database = Database(url, StoreSettings(gate_timeout_s=20.0))
    replicas, leases, random = SqlReplicas(database), SqlLeases(database), Random(number)
    told, mine = {"granted": 0, "refused": 0, "evicted": 0}, list[str]()
    for turn in range(turns):
        replica = dataclasses.replace(make_replica(f"s{number}", turn), device="g0")
        here = [lease for lease in leases.all() if lease.device == "g0" and lease.for_id is None]
        free = 16 - sum(lease.held.card_bytes for lease in leases.all() if lease.device == "g0")
        victims = random.sample(here, 1) if here and random.random() < 0.3 else []
        size = Size(card_bytes=max(1, min(6, free + sum(victim.held.card_bytes for victim in victims))))
        asked = Ask(
            replica_id=replica.id,
            service_id=replica.service_id,
            node_id="n1",
            device="g0",
            size=size,
            victims=tuple(victim.replica_id for victim in victims),
        )
        if replicas.insert(replica, asked):
            mine.append(replica.id)
            told["granted"] += 1
            told["evicted"] += len(victims)
        else:
            told["refused"] += free >= size.card_bytes
        if len(mine) > 1:
            replicas.delete(mine.pop(0))
            replicas.set_instances(replica.id, 3, card_bytes=size.card_bytes + 1)
    return told


def _wait_for_go() -> None:
    print("ready", flush=True)
    sys.stdin.readline()


def fork(path: str) -> dict[str, bool]:
    """Whether a forked child is kept out while its parent has the turn, and gets in after."""
    gate = Gate(Path(path), timeout_s=0.3)
    with gate.turn():
        kept_out = _in_child(gate) == 1
    return {"kept_out": kept_out, "let_in": _in_child(gate) == 0}


def _in_child(gate: Gate) -> int:
    if (pid := os.fork()) == 0:
        try:
            with gate.turn():
                os._exit(0)
        except StoreUnavailable:
            os._exit(1)
        os._exit(2)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def main() -> None:
    verb, *arguments = sys.argv[1:]
    verbs = {
        "submit": submit,
        "work": work,
        "hold": hold,
        "hammer": hammer,
        "fork": fork,
        "keyed": keyed,
        "first-key": first_key,
        "contend": contend,
    }
    print(json.dumps(verbs[verb](*arguments)), flush=True)  # type: ignore[operator]


if __name__ == "__main__":
    main()
