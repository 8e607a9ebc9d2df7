"""The shared record between a child and its parent."""

from inference.settings import ProcessSettings, Settings
from workers.pulse import Field, Phase, Pulse, path_of


def test_what_one_process_writes_the_other_reads(tmp_path):
    child, parent = Pulse(tmp_path / "pulse").record(3), Pulse(tmp_path / "pulse").record(3)

    child.set(Field.PID, 4_000_000)
    child.instance_id = "0123456789abcdef" * 2
    child.token = "t" * 16
    child.enter(Phase.RUNNING, deadline=123.5, jobs=64)

    assert parent.get(Field.PID) == 4_000_000
    assert parent.instance_id == "0123456789abcdef" * 2
    assert parent.token == "t" * 16
    assert (parent.phase, parent.get(Field.DEADLINE), parent.get(Field.JOBS)) == (Phase.RUNNING, 123.5, 64)


def test_records_do_not_touch_one_another(tmp_path):
    pulse = Pulse(tmp_path / "pulse")

    for index in range(64):
        pulse.record(index).set(Field.PID, index + 1)
        pulse.record(index).token = "x" * 32

    assert [pulse.record(index).get(Field.PID) for index in range(64)] == list(range(1, 65))
    assert pulse.record(5).instance_id == ""


def test_every_step_counts_as_progress(tmp_path):
    record = Pulse(tmp_path / "pulse").record(0)

    for _ in range(3):
        record.enter(Phase.CLAIMING)

    assert record.get(Field.PROGRESS) == 3


def test_clearing_leaves_the_parents_word_alone(tmp_path):
    record = Pulse(tmp_path / "pulse").record(0)
    record.set(Field.IS_STOPPING, 1)
    record.set(Field.LOADS, 2)
    record.enter(Phase.RUNNING, jobs=3)
    record.instance_id = "i"

    record.clear()

    assert (record.phase, record.instance_id, record.get(Field.JOBS)) == (Phase.EMPTY, "", 0)
    assert (record.get(Field.IS_STOPPING), record.get(Field.LOADS)) == (1, 2)


def test_each_generation_of_a_replica_has_a_file_of_its_own(tmp_path):
    def settings(generation):
        return Settings(data_dir=tmp_path, process=ProcessSettings(replica_id="r", replica_generation=generation))

    assert path_of(settings(1)) != path_of(settings(2))
