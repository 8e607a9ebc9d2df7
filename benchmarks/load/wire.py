"""One HTTP/1.1 connection without a library: prepared bytes out, status and body back."""

import re
import socket
from dataclasses import dataclass

_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
_CHUNKED = re.compile(rb"\r\ntransfer-encoding: *chunked", re.IGNORECASE)
_CLOSE = re.compile(rb"\r\nconnection: *close", re.IGNORECASE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """`status` 0 means that the connection broke before a whole answer came."""

    status: int
    body: bytes


def prepare(method: str, path: str, *, host: str, body: bytes = b"") -> bytes:
    """The bytes of one request, ready to be sent again and again."""
    head = f"{method} {path} HTTP/1.1\r\nHost: {host}\r\nAccept: application/json\r\n"
    if method != "GET":
        head += f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n"
    return head.encode() + b"\r\n" + body


class Wire:
    """A connection that carries one request at a time and connects again where the server closed it."""

    __slots__ = ("_address", "_head_end", "_is_closing", "_need", "_received", "job", "sent_at", "socket")

    def __init__(self, host: str, port: int) -> None:
        self._address = (host, port)
        self.job: object = None
        self.sent_at = 0.0
        self._connect()

    def _connect(self) -> None:
        self.socket = socket.create_connection(self._address, timeout=30)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket.setblocking(False)
        self._is_closing = False
        self._forget()

    def _forget(self) -> None:
        self._received = b""
        self._head_end = self._need = -1

    @property
    def is_closing(self) -> bool:
        """Whether the server said that it closes after this answer."""
        return self._is_closing

    def reconnect(self) -> None:
        self.socket.close()
        self._connect()

    def send(self, request: bytes) -> None:
        """Hands the whole request to the kernel; waits only where the socket's buffer is full."""
        try:
            sent = self.socket.send(request)
        except BlockingIOError:
            sent = 0
        if sent < len(request):
            self.socket.settimeout(30)
            self.socket.sendall(request[sent:])
            self.socket.setblocking(False)

    def receive(self) -> Answer | None:
        """The answer once it is whole, else None. Never blocks."""
        try:
            chunk = self.socket.recv(262_144)
        except BlockingIOError:
            return None
        except ConnectionError:
            chunk = b""
        if not chunk:
            self._is_closing = True
            self._forget()
            return Answer(status=0, body=b"")
        self._received = chunk if not self._received else self._received + chunk
        return self._take()

    def _take(self) -> Answer | None:
        data = self._received
        if self._head_end < 0:
            self._head_end = data.find(b"\r\n\r\n")
            if self._head_end < 0:
                return None
            head = data[: self._head_end + 2]
            self._is_closing = _CLOSE.search(head) is not None
            length = _LENGTH.search(head)
            self._need = self._head_end + 4 + int(length[1]) if length else 0
            if not length and not _CHUNKED.search(head):
                self._need = self._head_end + 4
        start = self._head_end + 4
        if self._need:
            if len(data) < self._need:
                return None
            body = data[start : self._need]
        else:
            if not data.endswith(b"0\r\n\r\n"):
                return None
            body = _join_chunks(data[start:])
        status = int(data[9:12])
        self._forget()
        return Answer(status=status, body=body)


def _join_chunks(data: bytes) -> bytes:
    parts: list[bytes] = []
    while True:
        size_text, _, rest = data.partition(b"\r\n")
        size = int(size_text.split(b";")[0], 16)
        if size == 0:
            return b"".join(parts)
        parts.append(rest[:size])
        data = rest[size + 2 :]
