"""Redis as production has it, for tests: a user for each role, nobody else; and TLS before one that has none."""

import os
import socket
import ssl
import subprocess
import threading
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any

import redis

from inference.redisio import acl
from tests.services import NOBODY, Missing, Postgres, Valkey, answers, wait_for

ADMIN_PASSWORD = "only-for-tests"


class GuardedValkey(Valkey):
    """Valkey with the users of `inference.redisio.acl`, and an admin who can read what was denied."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.passwords: Mapping[str, str] = {user: f"the-{user}-password" for user in acl.USERS}
        admin = f"user admin on >{ADMIN_PASSWORD} ~* &* +@all"
        with (folder / "valkey.conf").open("a") as config:
            config.write("\n".join([*acl.lines(self.passwords), admin, ""]))

    def start(self) -> None:
        self.process.start()
        hello = f"AUTH admin {ADMIN_PASSWORD}\r\n".encode()
        wait_for(
            lambda: answers(self.port, say=hello, expect=b"+OK"),
            timeout_s=10,
            what=f"guarded Valkey ({self.process.log()})",
        )

    def url_of(self, user: str) -> str:
        return f"redis://{user}:{self.passwords[user]}@127.0.0.1:{self.port}/0"

    def client(self, user: str) -> "redis.Redis":
        return redis.Redis.from_url(self.url_of(user))

    def admin(self) -> "redis.Redis":
        return redis.Redis(port=self.port, username="admin", password=ADMIN_PASSWORD)

    def denied(self) -> list[str]:
        """What was asked for in vain since the last call, as `user: command or key`."""
        admin = self.admin()
        found: list[Any] = admin.acl_log()
        admin.acl_log_reset()
        admin.close()
        return [f"{entry['username']}: {entry['object']} ({entry['reason']})" for entry in found]


class Authority:
    """A certificate authority of its own, made by the openssl command."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self.file = folder / "ca.pem"
        self._key = folder / "ca.key"
        subject = ["-subj", f"/CN=authority in {folder.name}", "-days", "2", "-nodes"]
        self._openssl("req", "-x509", "-newkey", "rsa:2048", "-keyout", self._key, "-out", self.file, *subject)

    def certificate(self, *names: str) -> tuple[Path, Path]:
        """(certificate, key) for these names, written as `DNS:localhost` or `IP:127.0.0.1`."""
        stem = self._folder / "-".join(name.replace(":", "_") for name in names)
        certificate, key, request = stem.with_suffix(".pem"), stem.with_suffix(".key"), stem.with_suffix(".csr")
        extensions = stem.with_suffix(".ext")
        extensions.write_text(f"subjectAltName={','.join(names)}\n")
        self._openssl("req", "-newkey", "rsa:2048", "-nodes", "-keyout", key, "-out", request, "-subj", "/CN=server")
        signed = ["-in", request, "-CA", self.file, "-CAkey", self._key, "-CAcreateserial", "-days", "2"]
        self._openssl("x509", "-req", *signed, "-extfile", extensions, "-out", certificate)
        return certificate, key

    def _openssl(self, *arguments: object) -> None:
        try:
            done = subprocess.run(
                ["openssl", *map(str, arguments)], capture_output=True, text=True, check=False, cwd=self._folder
            )
        except FileNotFoundError as error:
            raise Missing("openssl: apt-get install openssl") from error
        assert done.returncode == 0, done.stderr


class TlsProxy:
    """Ends TLS and hands on what it reads to a port on this machine: Valkey for tests has no TLS of its own."""

    def __init__(self, to_port: int, *, certificate: Path, key: Path) -> None:
        self._to_port = to_port
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._context.load_cert_chain(certificate, key)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        self.handshakes = 0

    def __enter__(self) -> "TlsProxy":
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                plain, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(plain,), daemon=True).start()

    def _serve(self, plain: socket.socket) -> None:
        with suppress(OSError), plain, self._context.wrap_socket(plain, server_side=True) as inside:
            self.handshakes += 1
            with socket.create_connection(("127.0.0.1", self._to_port)) as outside:
                threading.Thread(target=self._back, args=(outside, inside), daemon=True).start()
                while data := inside.recv(65536):
                    outside.sendall(data)

    @staticmethod
    def _back(outside: socket.socket, inside: socket.socket) -> None:
        with suppress(OSError):
            while data := outside.recv(65536):
                inside.sendall(data)
        with suppress(OSError):
            inside.shutdown(socket.SHUT_RDWR)


class TlsPostgres(Postgres):
    """Debian's PostgreSQL with TLS: the build that other tests use has none."""

    def __init__(self, folder: Path, authority: Authority, *names: str) -> None:
        super().__init__(folder)
        certificate, key = authority.certificate(*names)
        own = folder / "server.key"
        own.write_bytes(key.read_bytes())
        own.chmod(0o600)
        public = folder / "server.pem"
        public.write_bytes(certificate.read_bytes())
        if os.geteuid() == 0:
            for path in (folder, own, public):
                os.chown(path, NOBODY, NOBODY)
        for option in ("ssl=on", f"ssl_cert_file={public}", f"ssl_key_file={own}"):
            self.process.command += ["-c", option]

    def _programs(self) -> Path:
        found = sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"), key=lambda path: int(path.parts[-3]))
        if not found:
            raise Missing("PostgreSQL with TLS: apt-get install postgresql")
        self.folder.mkdir(parents=True, exist_ok=True)
        return found[-1].parents[1]
