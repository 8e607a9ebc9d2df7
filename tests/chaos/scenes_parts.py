"""What happens to the parts that jobs pass through: API, broker, database, disk, and all of them in turn."""

import random
import signal
import subprocess
import time
from pathlib import Path

import psutil

from tests.chaos.engine import Kind
from tests.chaos.load import Clients
from tests.chaos.world import Skipped, World
from tests.services import wait_for
from tests.system import kill
from workers.launching import folder

WITHOUT_POISON = {Kind.RETRYABLE: 0.01}


def api_killed(world: World) -> None:
    """Every process that answers requests at once, in the middle of submits: `live` takes those, `api` all else."""
    world.serve()
    clients = world.load(rate=80)
    world.works(more=20)
    dice, took, died = random.Random(world.seed), list[float](), 0
    for _ in range(world.times(10)):
        died += world.kill([*world.system.every_pid("live"), *world.system.every_pid("api")])
        before = clients.accepted()
        took.append(world.until(lambda before=before: clients.accepted() > before + 5, timeout_s=40, what="API again"))
        time.sleep(dice.uniform(0.2, 0.6))
    world.settle()
    world.feel("processes_killed", died, at_least=2 * world.times(10))
    world.feel("submits_without_answer", clients.statuses[None] + clients.statuses[503])
    world.feel("sent_again", clients.resent)
    world.figure("recovery_api_max_s", max(took), target=5, at_most=40)


def broker(world: World) -> None:
    """Killed, emptied, and stopped for 20 s."""
    world.serve()
    clients = world.load(shares=WITHOUT_POISON)  # each crash costs seconds, and throughput is measured here
    world.works(more=20)
    took = []
    for _ in range(world.times(3)):
        at = time.time()
        world.kill(world.system.pids("broker"))
        world.until(lambda: _answers(world), timeout_s=30, what="the broker again")
        world.works(more=5)
        took.append(world.first_end_after_s(at))
    assert world.system.say("FLUSHALL").startswith(b"+OK")
    world.works(more=20)

    stop_s = world.lasting(20)
    begun, done = time.monotonic(), world.done()
    time.sleep(5)
    before = (world.done() - done) / (time.monotonic() - begun)
    (pid,) = world.system.pids("broker")
    kill(pid, signal.SIGSTOP)
    begun, done = time.monotonic(), world.done()
    is_deaf = not _answers(world)
    time.sleep(max(0.0, stop_s - (time.monotonic() - begun)))
    ended = time.monotonic()
    during = (world.done() - done) / (ended - begun)
    kill(pid, signal.SIGCONT)
    back = world.works(more=5)
    world.settle()
    restarts = {
        entry["role"]: entry["restarts"] for entry in folder.read_json(world.system.data / "run/up.json")["processes"]
    }
    world.feel("broker_restarts", restarts["broker"], at_least=world.times(3))
    world.feel("broker_deaf", int(is_deaf))
    world.figure("recovery_broker_max_s", max(took), target=5, at_most=30)
    world.figure("recovery_after_stop_s", back, target=5, at_most=30)
    p99 = clients.slowest_share_s(0.99, since=begun, until=ended)
    world.figure("submit_p99_without_broker_ms", (p99 or 0) * 1000, target=500, at_most=8_000)
    world.figures["throughput_share"] = round(during / before, 2) if before else None
    world.feel("done_per_s_without_broker", round(during, 1), at_least=0.2 * before)


def engine_without_broker(world: World) -> None:
    """An engine is killed while the broker is stopped, when Celery replaces nobody: work goes on all the same."""
    world.serve()
    world.load(shares=WITHOUT_POISON)
    world.works(more=20)
    (pid,) = world.system.pids("broker")
    kill(pid, signal.SIGSTOP)
    try:
        time.sleep(1)
        killed = world.kill(world.system.pids("engine", world.service))
        at = time.time()
        world.works(more=20, timeout_s=90)
        is_deaf = not _answers(world)
    finally:
        kill(pid, signal.SIGCONT)
    world.works(more=20)
    world.settle()
    world.feel("engines_killed", killed)
    world.feel("broker_deaf", int(is_deaf))
    world.figure("recovery_s", world.first_end_after_s(at), target=20, at_most=80)


def _answers(world: World) -> bool:
    try:
        return world.system.say("PING").startswith(b"+PONG")
    except OSError:
        return False


def sql_absent(world: World) -> None:
    """PostgreSQL is killed and stays away for 10 s: 503 with Retry-After, and nothing that was held is lost."""
    server = world.postgres
    if server is None:
        raise Skipped("SQLite is a file; there is no server to kill")
    world.slack_s = 20.0
    world.serve()
    clients = world.load()
    world.works(more=20)
    server.process.kill()
    time.sleep(world.lasting(10))
    refused = clients.statuses[503]
    wait_for(lambda: _starts(server), timeout_s=30, what="PostgreSQL again")
    _sql_is_back(world, clients)
    world.feel("refused_503", refused)


def sql_stopped(world: World) -> None:
    """PostgreSQL stands still for 10 s, and closes nothing: 503 with Retry-After, and work goes on when it does."""
    server = world.postgres
    if server is None:
        raise Skipped("SQLite is a file; there is no server to stop")
    world.slack_s = 20.0
    world.serve()
    clients = world.load()
    world.works(more=20)
    family = [psutil.Process(server.process.pid), *psutil.Process(server.process.pid).children()]
    for process in family:
        process.suspend()
    begun = time.monotonic()
    try:
        time.sleep(world.lasting(10))
        world.until(lambda: clients.statuses[503], timeout_s=20, what="503")
        refused_s = time.monotonic() - begun
    finally:
        for process in family:
            process.resume()
    _sql_is_back(world, clients)
    world.feel("refused_503", clients.statuses[503])
    slowest = max(took for since, took, _ in clients.took_s if begun - 1 <= since < begun + refused_s)
    world.figure("slowest_answer_s", slowest, target=10, at_most=30)
    world.figures["attempts_lost"] = world.outcomes()["lost"]


def _sql_is_back(world: World, clients: Clients) -> None:
    """How long until tasks are taken again and end; each refusal in between must have said when to come back."""
    at, before = time.time(), clients.accepted()
    world.system.db.engine.dispose()
    took = world.until(lambda: clients.accepted() > before, timeout_s=40, what="202 again")
    world.works(more=5)
    world.settle()
    world.feel(
        "refusals_with_retry_after", clients.statuses[503] - clients.without_hint, at_least=clients.statuses[503]
    )
    world.figure("recovery_submit_s", took, target=5, at_most=40)
    world.figure("recovery_work_s", world.first_end_after_s(at), target=5, at_most=40)


def _starts(server: object) -> bool:
    """The old server's children may still have the shared memory; then the new one ends at once."""
    try:
        server.start()  # type: ignore[attr-defined]
    except AssertionError:
        return False
    return True


def gate(world: World) -> None:
    """The process that has SQLite's turn to write stands still: 503 for the others meanwhile, and nothing is lost."""
    turn = Path(f"{world.system.data}/penstock.db.gate.turn")
    if world.kind != "sqlite":
        raise Skipped("the write gate is SQLite's")
    world.serve(engine={"call_ms": 1, "row_ms": 0})
    clients = world.load(rate=80)
    world.works(more=20)
    for _ in range(world.times(2)):
        pid = _stopped_holder(world, turn)
        try:
            before = clients.statuses[503]
            time.sleep(world.lasting(6))
            world.until(lambda before=before: clients.statuses[503] > before, timeout_s=30, what="503")
        finally:
            kill(pid, signal.SIGCONT)
        world.works(more=20)
    world.settle()
    world.feel("refused_503", clients.statuses[503], at_least=world.times(2))


def _stopped_holder(world: World, turn: Path) -> int:
    """Stops whoever writes much, until one is caught with the lock in its hands."""
    inode, dice = str(turn.stat().st_ino), random.Random(world.seed)
    pids = world.system.pids("engine", world.service)
    for _ in range(2_000):
        pid = dice.choice(pids)
        kill(pid, signal.SIGSTOP)
        time.sleep(0.002)
        if any(
            f" {pid} " in line and f":{inode} " in line
            for line in Path("/proc/locks").read_text().splitlines()
            if "->" not in line
        ):
            return pid
        kill(pid, signal.SIGCONT)
        time.sleep(dice.uniform(0.001, 0.01))
    raise AssertionError("nobody was caught with the turn to write")


def disk(world: World) -> None:
    """The data folder's disk is full for a while: 507 or 503, no torn file, and it goes on by itself."""
    world.serve()
    clients = world.load()
    world.works(more=20)
    filler = world.system.data / "filler"
    _fill(filler)
    before = clients.statuses[507] + clients.statuses[503]
    refused = lambda: clients.statuses[507] + clients.statuses[503] - before  # noqa: E731
    world.until(lambda: _fill(filler) or refused() > 10, timeout_s=40, what="refusals")
    time.sleep(world.lasting(4))
    statuses = {507: clients.statuses[507], 503: clients.statuses[503]}
    filler.unlink()
    at, before_accepted = time.time(), clients.accepted()
    took = world.until(lambda: clients.accepted() > before_accepted + 5, timeout_s=40, what="202 again")
    world.works(more=20)
    world.settle()
    whole = world.system.rows("PRAGMA integrity_check")[0][0] if world.kind == "sqlite" else "ok"
    world.feel("refused_507", statuses[507])
    world.feel("database_whole", int(whole == "ok"))
    world.figures["refused_503"] = statuses[503]
    world.figure("recovery_submit_s", took, target=5, at_most=40)
    world.figure("recovery_work_s", world.first_end_after_s(at), target=5, at_most=40)


def _fill(path: Path) -> None:
    """To the last byte."""
    with path.open("ab", buffering=0) as file:
        for size in (1 << 20, 4096, 1):
            try:
                while True:
                    file.write(b"\0" * size)
            except OSError:
                continue


def small_disk(world: World) -> None:
    """Mounts the data folder before the system starts."""
    data = world.folder / "data"
    data.mkdir()
    made = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=64m,mode=755", "penstock-chaos", str(data)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    if made.returncode:
        raise Skipped(f"a small disk takes leave to mount one: {made.stderr.strip()[:200]}")
    world.at_close.append(lambda: subprocess.run(["umount", "-l", str(data)], check=False))


def rolling(world: World) -> None:
    """SIGTERM to every process, one role after the other, under load: no attempt is lost."""
    world.serve(replicas=2)
    world.load(shares=WITHOUT_POISON)  # its crashes would count as lost attempts
    world.works(more=20)
    roles = ["engine-holders", "node", "control", "live", "api", "front", "broker"]
    asked = 0
    for role in roles:
        name = "worker" if role == "engine-holders" else role
        for pid in world.system.pids(name):
            asked += kill(pid, signal.SIGTERM)
            world.until(lambda pid=pid: not Path(f"/proc/{pid}").exists(), timeout_s=30, what=f"end of {name}")
            world.until(lambda: world.system.pids(name), timeout_s=30, what=f"{name} again")  # noqa: B023
            world.works(more=5)
    world.settle()
    world.feel("processes_ended_by_sigterm", asked, at_least=len(roles) + 1)
    world.feel("no_attempt_lost", 1 if not world.outcomes()["lost"] else 0)
    world.figures["attempts_lost"] = world.outcomes()["lost"]


def controls(world: World) -> None:
    """Three control processes, one of which beats, and two beats, killed again and again: each duty once a period."""
    notes = world.note_ticks()
    world.serve()
    others = [world.further("workers.control") for _ in range(2)]
    others += [world.further("workers.beat", DATA_DIR=_own(world, number)) for number in range(2)]
    world.load()
    world.works(more=20)
    dice, kills, end = random.Random(world.seed), 0, time.monotonic() + world.lasting(15)
    while time.monotonic() < end:
        which = dice.randrange(len(others) + 1)
        if which < len(others):
            others[which].kill()
            others[which].begin()
            kills += 1
        else:
            kills += world.kill(world.system.pids("control"))
        time.sleep(dice.uniform(0.5, 1.5))
    world.settle()
    ticks = notes()
    world.feel("kills", kills, at_least=5)
    for duty, period_s in (("reconcile", 1.0), ("sweep", 1.0)):
        gaps = [later - sooner for sooner, later in zip(ticks[duty], ticks[duty][1:], strict=False)]
        world.feel(f"ticks_{duty}", len(gaps), at_least=5)
        world.feel(f"{duty}_never_twice", int(min(gaps) >= 0.75 * period_s))
        world.figure(f"{duty}_longest_gap_s", max(gaps), target=3, at_most=20)


def _own(world: World, number: int) -> str:
    path = world.folder / f"beat-{number}"
    path.mkdir()
    return str(path)
