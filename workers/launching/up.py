"""`up`: one run of the whole system, from the lock on its folder to the last process gone."""

import contextlib
import http.client
import json
import os
import secrets
import socket
import ssl
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from urllib.parse import urlsplit

from inference import clock, lifeline
from inference.errors import BadSettings
from inference.resources import probe
from inference.settings import Settings
from workers.launching import broker, folder, front, opening, roles, tls
from workers.launching.nursery import Nursery
from workers.launching.roles import BROKER, Ports, Role
from workers.launching.supervise import Supervisor, say

_READY_LIMIT_S = 60.0
_WARM_LIMIT_S = 20.0

Work = Callable[[Ports, int], list[Role]]
"""Gives the roles that need store and broker, for these ports."""


def run(
    settings: Settings,
    *,
    environ: Mapping[str, str],
    flower: bool = False,
    ready_file: Path | None = None,
    print_json: bool = False,
    work: Work = roles.work,
    migrate: tuple[str, ...] = roles.MIGRATE,
    nursery: Nursery | None = None,
) -> int:
    """Runs the system in the foreground until SIGINT or SIGTERM; gives back the exit code.

    Raises KeysNeeded when others can reach the address and there is no key, AlreadyRunning when another launcher has
    the data folder, BadSettings when the front's address is taken, or when its certificate or the devices that the
    settings list cannot be used.
    """
    began = time.monotonic()
    data_dir = settings.data_dir
    tls.check(settings.front)
    front.networks(settings.front.trusted_proxies)
    probe.check(settings.resources)
    os.umask(0o077)  # what the parts write is for their owner alone
    lifeline.leave_no_core()
    folder.prepare(data_dir)
    lock = folder.lock(data_dir)
    try:
        if left := folder.sweep(data_dir):
            say(f"ended {len(left)} process(es) that an earlier run left on {data_dir}")
        with _listen(settings.api.host, settings.api.port) as listener:
            if not _is_loopback(listener):
                environ = opening.closed(settings, environ, migrate)
            system = _System(settings, listener=listener, environ=environ, flower=flower, nursery=nursery)
            try:
                if not system.start(work, migrate):
                    return 130 if system.supervisor.killed else 0 if system.supervisor.stopping else 1
                system.announce(took_s=time.monotonic() - began, ready_file=ready_file, print_json=print_json)
                system.supervisor.run()
            finally:
                listener.close()
                system.end()
            return 130 if system.supervisor.killed else 0
    finally:
        os.close(lock)


class _System:
    """One run: which processes, where they listen, and what is told about them."""

    def __init__(
        self,
        settings: Settings,
        *,
        listener: socket.socket,
        environ: Mapping[str, str],
        flower: bool,
        nursery: Nursery | None,
    ) -> None:
        self.settings = settings
        self.run_id = secrets.token_hex(8)
        self.started_at = clock.epoch_s()
        self.embedded_broker = not settings.redis_url
        self.flower = flower
        self.listener = listener
        self.secrets = roles.secrets_of(environ)
        names = [roles.NODE, *([BROKER] if self.embedded_broker else [])]
        self.ports = folder.choose_ports(settings.data_dir, names=tuple(names))
        # Production mode refuses a broker without a password, ours too; on a laptop one is only in the way.
        is_shared = settings.mode == "production" or settings.access.require_keys or not _is_loopback(listener)
        is_guarded = self.embedded_broker and is_shared
        self.broker_passwords = {user: secrets.token_hex(24) for user in broker.USERS} if is_guarded else {}
        self.redis_url = broker.url(port=self.ports.broker)
        self.has_tls = tls.check(settings.front)
        self.urls = _urls(listener, settings.api.host, self.ports, has_tls=self.has_tls, has_flower=flower)
        self.supervisor = Supervisor(
            data_dir=settings.data_dir,
            environment=roles.environment(
                settings,
                run_id=self.run_id,
                redis_url="" if is_guarded else self.redis_url,
                # Flower shows each job only if the workers tell of them.
                inherited={"PENSTOCK_TELEMETRY__JOB_EVENTS": "true", **environ} if flower else environ,
            ),
            say=say,
            changed=self.write_state,
            logs=settings.logs,
            nursery=nursery,
        )

    def start(self, work: Work, migrate: tuple[str, ...]) -> bool:
        """Starts everything in order; False when it could not be, or the end was asked for meanwhile."""
        supervisor, data_dir = self.supervisor, self.settings.data_dir
        supervisor.listen_to_signals()
        self.write_front()
        if self.embedded_broker:
            folder.write_text(
                data_dir / "run" / "valkey.conf",
                broker.render(port=self.ports.broker, passwords=self.broker_passwords),
            )
        say(f"starting on {data_dir}")
        supervisor.add(
            roles.ground(ports=self.ports, listener=self.listener.fileno(), embedded_broker=self.embedded_broker)
        )
        parts = work(self.ports, self.settings.api.live_processes)
        found = self.with_users([*parts, *([roles.flower()] if self.flower else [])])
        if any(role.is_forked for role in found):
            supervisor.warm()
        supervisor.log_of("migrate").unlink(missing_ok=True)  # what is shown of it below is of this start
        code = supervisor.run_once("migrate", migrate, self.secrets)
        if code:
            say("the database could not be brought up to date:")
            for line in folder.last_lines(supervisor.log_of("migrate"), 15):
                say(f"    {line}")
        if code != 0:
            return False
        if self.embedded_broker:
            supervisor.wait(self.broker_answers, limit_s=60.0)
        supervisor.wait(supervisor.is_warm, limit_s=_WARM_LIMIT_S)
        if supervisor.stopping:
            return False
        supervisor.add(found)
        if not supervisor.wait(self.is_ready, limit_s=_READY_LIMIT_S, every_s=0.05) and not supervisor.stopping:
            say(f"not ready after {_READY_LIMIT_S:.0f} s: {self.why_not()} Logs are in {data_dir}/logs; still trying.")
            supervisor.wait(self.is_ready, limit_s=float("inf"), every_s=0.5)
        return not supervisor.stopping

    def with_users(self, found: list[Role]) -> list[Role]:
        """The roles, each with its own way to the broker."""
        port, passwords = self.ports.broker, self.broker_passwords
        return [roles.with_own_user(role, self.settings, port=port, passwords=passwords) for role in found]

    def broker_answers(self) -> bool:
        """Whether the embedded broker is up and has read its file. Blocks a second at most."""
        return broker.answers(
            self.ports.broker, user=broker.MONITOR, password=self.broker_passwords.get(broker.MONITOR, "")
        )

    def write_front(self) -> None:
        """What nginx reads at its start."""
        wanted, data_dir = self.settings.front, self.settings.data_dir
        if self.has_tls:
            tls.place(wanted, data_dir)
        config = front.render(
            listen=_address(self.listener),
            body_limit_bytes=self.settings.api.body_limit_bytes,
            streams=self.settings.api.workers * self.settings.api.threads // 2,
            live=[f"unix:{uds}" for uds in front.live_sockets(self.settings.api.live_processes)],
            flower=f"unix:{front.FLOWER_SOCKET}" if self.flower else "",
            has_tls=self.has_tls,
            trusted_proxies=front.networks(wanted.trusted_proxies),
        )
        folder.write_text(data_dir / "run" / "nginx.conf", config)

    def is_ready(self) -> bool:
        """Whether /readyz answers 200. Blocks a second at most."""
        sockets = (front.API_SOCKET, *front.live_sockets(self.settings.api.live_processes))
        return all(map(self._listens, sockets)) and self._ask_readyz()[0] == 200

    def _listens(self, uds: str) -> bool:
        """Asked first, so that the front's log is not filled with refusals while a part starts.

        Through /proc, because the path of a Unix socket may have 107 bytes only.
        """
        folder_fd = os.open(self.settings.data_dir, os.O_RDONLY | os.O_DIRECTORY)
        try:
            with socket.socket(socket.AF_UNIX) as connection:
                connection.settimeout(1.0)
                connection.connect(f"/proc/self/fd/{folder_fd}/{uds}")
                return True
        except OSError:
            return False
        finally:
            os.close(folder_fd)

    def why_not(self) -> str:
        """What /readyz says, in its own words."""
        status, body = self._ask_readyz()
        with contextlib.suppress(ValueError, KeyError, TypeError):
            return str(json.loads(body)["message"])
        return f"/readyz answers {status}." if status else "the front does not answer."

    def _ask_readyz(self) -> tuple[int, bytes]:
        return self._ask("/readyz")

    def _ask(self, path: str) -> tuple[int, bytes]:
        """(status, body); (0, empty) without an answer."""
        connection = _connection(self.urls["api"])
        try:
            connection.request("GET", path)
            answer = connection.getresponse()
            return answer.status, answer.read()
        except (OSError, http.client.HTTPException):
            return 0, b""
        finally:
            connection.close()

    def state(self) -> dict[str, object]:
        """What `penstock status` reads: this run and its processes as they are now."""
        return {
            "pid": os.getpid(),
            "run_id": self.run_id,
            "data_dir": str(self.settings.data_dir),
            "started_at": clock.iso(self.started_at),
            "urls": self.urls,
            "redis_url": self.redis_url if self.embedded_broker else None,
            "processes": [
                {"role": child.role.name, "pid": child.pid, "restarts": child.restarts}
                for child in self.supervisor.children.values()
            ],
        }

    def write_state(self, supervisor: Supervisor) -> None:
        if not supervisor.stopping and hasattr(self, "supervisor"):
            with contextlib.suppress(OSError):  # a full disk must not end the system
                folder.write_json(self.settings.data_dir / "run" / "up.json", self.state())

    def announce(self, *, took_s: float, ready_file: Path | None, print_json: bool) -> None:
        """Says that it runs, and where."""
        say(f"ready after {took_s:.1f} s")
        for name, url in self.urls.items():
            say(f"  {name:8} {url}")
        for sentence in opening.sentences(self.settings.data_dir, status=self._ask("/api/v1/inference/me")[0]):
            say(sentence)
        say("Ctrl-C stops it")
        if ready_file is not None:
            folder.write_json(ready_file, self.state())
        if print_json:
            print(json.dumps(self.state()), flush=True)

    def end(self) -> None:
        """Ends everything, and looks for what is left of this run."""
        say("stopping")
        self.supervisor.stop()
        for _ in range(3):
            if not (left := list(folder.processes_of(run_id=self.run_id))):
                break
            folder.kill(left, {})
            time.sleep(0.05)
        (self.settings.data_dir / "run" / "up.json").unlink(missing_ok=True)
        say("stopped")


def _listen(host: str, port: int) -> socket.socket:
    """The public socket. The launcher holds it, so that a front that is being replaced refuses nobody."""
    listener: socket.socket | None = None
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listener = socket.socket(family, socket.SOCK_STREAM)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(4096)
    except OSError as error:
        if listener is not None:
            listener.close()
        raise BadSettings(
            f"Cannot listen on {host} port {port} ({error.strerror}): choose another with --port; 0 takes a free one.",
            host=host,
            port=port,
        ) from error
    return listener


def _connection(url: str) -> http.client.HTTPConnection:
    """To our own front. Its certificate is for the name that others call it by, and is not looked at."""
    address = urlsplit(url)
    host = address.hostname or ""
    if address.scheme == "http":
        return http.client.HTTPConnection(host, address.port, timeout=1.0)
    trusting = ssl.create_default_context()
    trusting.check_hostname, trusting.verify_mode = False, ssl.CERT_NONE
    return http.client.HTTPSConnection(host, address.port, timeout=1.0, context=trusting)


def _address(listener: socket.socket) -> str:
    host, port = listener.getsockname()[:2]
    return f"[{host}]:{port}" if listener.family == socket.AF_INET6 else f"{host}:{port}"


def _is_loopback(listener: socket.socket) -> bool:
    host = str(listener.getsockname()[0])
    return host == "::1" or host.startswith("127.")


def _urls(listener: socket.socket, host: str, ports: Ports, *, has_tls: bool, has_flower: bool) -> dict[str, str]:
    """Where a person on this machine finds things."""
    port = listener.getsockname()[1]
    local = {"0.0.0.0": "127.0.0.1", "": "127.0.0.1", "::": "[::1]", "::1": "[::1]"}.get(host, host)  # noqa: S104
    base = f"{'https' if has_tls else 'http'}://{local}:{port}"
    urls = {"api": base, "docs": f"{base}/docs", "metrics": f"{base}/metrics"}
    urls["workers"] = f"http://127.0.0.1:{ports.node}/metrics"
    if has_flower:
        urls["flower"] = f"{base}/{front.FLOWER_PREFIX}/"
    return urls
