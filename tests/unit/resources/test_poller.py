"""The poller: readings go on behind its back, and what nobody could read for long is lost."""

import threading

from inference.resources.model import DeviceState, Figures, HostReading
from inference.resources.poller import HANGS_S, Poller
from tests.unit.resources.devices import device, reading

BUSY = Figures(temperature_c=40.0, xid=79, xids=1)


class Driver:
    """Answers at once the first time; then each reading needs a leave of its own."""

    def __init__(self, *readings: HostReading | Exception) -> None:
        self._readings = list(readings)
        self.leave = threading.Semaphore(1)
        self.is_closed = threading.Event()

    def read(self) -> HostReading:
        self.leave.acquire(timeout=5)
        found = self._readings.pop(0) if len(self._readings) > 1 else self._readings[0]
        if isinstance(found, Exception):
            raise found
        return found

    def close(self) -> None:
        self.is_closed.set()


def test_a_reading_that_fails_leaves_the_one_before_and_the_next_takes_its_place():
    driver = Driver(reading(device()), RuntimeError("ill"), reading(device(figures=BUSY)))
    poller = Poller(driver, every_s=0.001)
    first = poller.latest()

    driver.leave.release()
    driver.leave.release()
    for _ in range(5000):
        if poller.latest() != first:
            break
        threading.Event().wait(0.001)

    assert poller.latest().devices[0].figures == BUSY
    driver.leave.release(100)
    poller.close()
    assert driver.is_closed.is_set()


def test_devices_of_a_driver_that_hangs_are_lost():
    now_s = 0.0
    driver = Driver(reading(device(figures=BUSY)))
    poller = Poller(driver, every_s=1.0, monotonic=lambda: now_s)

    now_s = HANGS_S
    before = poller.latest().devices[0]
    now_s = HANGS_S + 1.0
    after = poller.latest().devices[0]
    driver.leave.release(100)
    poller.close()

    assert (before.state, before.figures) == (DeviceState.OK, BUSY)
    assert (after.state, after.figures) == (DeviceState.LOST, Figures(xid=79, xids=1))
