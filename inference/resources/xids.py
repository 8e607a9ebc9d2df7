"""XID events: what the driver reports of an ill card, waited for in a thread."""

import ctypes
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from inference.clock import epoch_s

WAIT_MS = 1000
PAUSE_S = 5.0
"""After an error of the wait itself, which may come back at once."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Xid:
    """The last report of a card, and how many there were. `code` None: there was none.

    Source of the codes: "XID Errors", NVIDIA GPU deployment and management documentation.
    """

    code: int | None = None
    at: float | None = None
    count: int = 0


class XidWatch:
    """Counts the reports of the cards given to `watch`. The thread ends with `close`, or with the process."""

    def __init__(self, nvml: Any, *, clock: Callable[[], float] = epoch_s) -> None:
        self._nvml, self._clock = nvml, clock
        self._seen: dict[str, Xid] = {}
        self._set: Any = None
        self._thread: threading.Thread | None = None
        self._ended = threading.Event()
        self._refused: set[str] = set()
        self._uuids: dict[int, str] = {}

    def watch(self, handle: Any, uuid: str) -> None:
        """Listens to this card from now on; a second call changes nothing, nor does a card that reports nothing."""
        if uuid in self._seen or uuid in self._refused:
            return
        nvml = self._nvml
        try:
            if self._set is None:
                self._set = nvml.nvmlEventSetCreate()
            nvml.nvmlDeviceRegisterEvents(handle, nvml.nvmlEventTypeXidCriticalError, self._set)
        except nvml.NVMLError:
            self._refused.add(uuid)
            return
        self._seen[uuid] = Xid()
        self._uuids[ctypes.addressof(handle.contents)] = uuid
        if self._thread is None:
            self._thread = threading.Thread(target=self._listen, name="xids", daemon=True)
            self._thread.start()

    def of(self, uuid: str) -> Xid | None:
        """None for a card that cannot be listened to."""
        return self._seen.get(uuid)

    def close(self) -> None:
        """Blocks for as long as one wait lasts: NVML must not be shut down under it."""
        self._ended.set()
        if self._thread is not None:
            self._thread.join(2 * WAIT_MS / 1000)
        if self._set is not None:
            with suppress(self._nvml.NVMLError):
                self._nvml.nvmlEventSetFree(self._set)
            self._set = None

    def _listen(self) -> None:
        nvml = self._nvml
        while not self._ended.is_set():
            try:
                event = nvml.nvmlEventSetWait(self._set, WAIT_MS)
            except nvml.NVMLError as error:
                if error.value != nvml.NVML_ERROR_TIMEOUT:
                    self._ended.wait(PAUSE_S)
                continue
            # Not asked of the card: one that has fallen off the bus does not even say who it is.
            uuid = self._uuids.get(ctypes.addressof(event.device.contents)) if event.device else None
            if uuid is not None and event.eventType == nvml.nvmlEventTypeXidCriticalError:
                count = self._seen[uuid].count + 1
                self._seen[uuid] = Xid(code=int(event.eventData), at=self._clock(), count=count)
