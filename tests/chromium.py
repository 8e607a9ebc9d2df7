"""A real headless Chromium for tests of pages: opens one, waits for what it should show, keeps what it complains of."""

import contextlib
import json
import os
import shutil
import subprocess
import time
from pathlib import Path
from typing import Any

from tests.services import die_with_tests

BINARY = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
OPTIONS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync", "--remote-debugging-pipe"),
)


class Chromium:
    """One browser with one tab. `complaints`: the console's errors and warnings, policy violations among them.

    `requests`: every URL that the tab asked for.
    """

    def __init__(self, folder: Path, *options: str) -> None:
        (their_end, self._write), (self._read, theirs) = os.pipe(), os.pipe()
        # Chromium reads commands from descriptor 3 and writes to 4.
        self._process = subprocess.Popen(
            ["bash", "-c", f'exec "$@" 3<&{their_end} 4>&{theirs}', "-", str(BINARY), *OPTIONS, *options,
             f"--user-data-dir={folder}", "about:blank"],
            pass_fds=(their_end, theirs),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            preexec_fn=die_with_tests,
        )  # fmt: skip
        os.close(their_end)
        os.close(theirs)
        self.complaints: list[str] = []
        self.requests: list[str] = []
        self._rest, self._calls, self._session = b"", 0, ""
        tabs = self._call("Target.getTargets")["targetInfos"]
        tab = next(tab["targetId"] for tab in tabs if tab["type"] == "page")
        self._session = self._call("Target.attachToTarget", targetId=tab, flatten=True)["sessionId"]
        for domain in ("Log", "Runtime", "Network", "Page"):
            self._call(f"{domain}.enable")

    def open(self, url: str, **headers: str) -> None:
        """Begins to load the page; what was complained of before is forgotten."""
        self.complaints.clear()
        self.requests.clear()
        self._call("Network.setExtraHTTPHeaders", headers=headers)
        self._call("Page.navigate", url=url)

    def ask(self, script: str) -> Any:
        """The value of a JavaScript expression in the page; None when it fails."""
        result = self._call("Runtime.evaluate", expression=script, returnByValue=True)["result"]
        return result.get("value") if result.get("subtype") != "error" else None

    def until(self, script: str, *, timeout_s: float = 20.0) -> Any:
        """The first value of the expression that is true."""
        deadline = time.monotonic() + timeout_s
        while not (value := self.ask(script)):
            assert time.monotonic() < deadline, f"never true: {script}; complaints: {self.complaints}"
            time.sleep(0.05)
        return value

    def close(self) -> None:
        with contextlib.suppress(OSError, AssertionError):
            self._session = ""
            self._call("Browser.close")
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        os.close(self._write)
        os.close(self._read)

    def _call(self, method: str, **params: Any) -> Any:
        self._calls += 1
        message: dict[str, Any] = {"id": self._calls, "method": method, "params": params}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._write, json.dumps(message).encode() + b"\0")
        while (answer := self._next()).get("id") != self._calls:
            self._note(answer.get("method", ""), answer.get("params", {}))
        assert "error" not in answer, f"{method}: {answer}"
        return answer["result"]

    def _next(self) -> dict[str, Any]:
        while b"\0" not in self._rest:
            more = os.read(self._read, 1 << 20)
            assert more, "Chromium ended"
            self._rest += more
        text, _, self._rest = self._rest.partition(b"\0")
        return dict(json.loads(text))

    def _note(self, event: str, params: dict[str, Any]) -> None:
        if event == "Log.entryAdded" and params["entry"]["level"] in ("error", "warning"):
            self.complaints.append(params["entry"]["text"])
        elif event == "Runtime.consoleAPICalled" and params["type"] in ("error", "assert"):
            self.complaints.append(str([part.get("value") or part.get("description") for part in params["args"]]))
        elif event == "Runtime.exceptionThrown":
            self.complaints.append(str(params["exceptionDetails"].get("exception", {}).get("description")))
        elif event == "Network.requestWillBeSent":
            self.requests.append(params["request"]["url"])
