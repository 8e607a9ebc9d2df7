"""Devices in memory."""

from inference.resources.ports import ResourcesPorts


class FakeDevices:
    def __init__(self):
        self.rows = []

    def list(self, *, silence_s, node_id=None):
        return [row for row in self.rows if node_id in (None, row.node_id)]


def make_resources():
    return ResourcesPorts(devices=FakeDevices())
