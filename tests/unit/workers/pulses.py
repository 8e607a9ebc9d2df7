"""What a child says of itself, said by a test."""

from inference.clock import monotonic_s
from workers.pulse import Field


def put(record, pid, phase, *, limit_s=60.0, instance="i" * 32):
    record.set(Field.PID, pid)
    record.set(Field.GENERATION, 7)
    record.instance_id = instance
    record.enter(phase, deadline=monotonic_s() + limit_s if limit_s else 0.0)
