"""The probe: which cards are shown, where they come from, and what a node row keeps of them."""

import json
from pathlib import Path

import pytest

from inference.errors import BadSettings
from inference.resources import inventory, probe, probe_replay, probe_static
from inference.resources.host import Load
from inference.resources.model import DeviceState, Figures, Host, Source, usable
from inference.resources.probe_replay import Frame, ReplayProbe
from inference.settings import ResourcesSettings
from tests.unit.resources.devices import device, reading

CARDS = [device(0, "GPU-aa"), device(1, "GPU-ab"), device(2, "GPU-cc")]
PARTS = [device(0, "GPU-aa"), device(0, "MIG-1", parent="GPU-aa"), device(1, "MIG-2", parent="GPU-aa"), CARDS[2]]


@pytest.mark.parametrize(
    ("visible", "shown"),
    [
        (None, ["GPU-aa", "GPU-ab", "GPU-cc"]),
        ("", []),
        ("1", ["GPU-ab"]),
        ("2,0", ["GPU-cc", "GPU-aa"]),
        ("GPU-ab", ["GPU-ab"]),
        ("GPU-c", ["GPU-cc"]),
        ("GPU-a", []),
        ("0,9,1", ["GPU-aa"]),
        ("-1", []),
    ],
)
def test_the_cards_shown_are_those_that_cuda_would_show(visible, shown):
    assert [card.uuid for card in probe.choose(CARDS, visible)] == shown


@pytest.mark.parametrize(
    ("visible", "shown"),
    [("0", ["GPU-aa", "MIG-1", "MIG-2"]), ("MIG-2", ["MIG-2"]), ("2", ["GPU-cc"]), ("1", [])],
)
def test_a_card_that_is_cut_up_stands_for_its_parts(visible, shown):
    assert [card.uuid for card in probe.choose(PARTS, visible)] == shown


def test_work_is_placed_on_parts_instead_of_their_card_and_on_nothing_that_is_lost():
    lost = device(3, "GPU-dd", state=DeviceState.LOST)

    assert [one.uuid for one in usable((*PARTS, lost))] == ["MIG-1", "MIG-2", "GPU-cc"]


def test_a_node_row_names_the_source_of_every_figure_and_no_device_that_is_lost():
    found = reading(CARDS[0], device(1, "GPU-ab", state=DeviceState.LOST))
    host = Host(cpus=2.0, memory_bytes=8 << 30, can_cuda=True)

    kept = inventory.of_node(host, found, Load(cpu_percent=12.5, memory_percent=50.0))

    assert kept == {
        "cpus": 2.0,
        "memory_bytes": 8 << 30,
        "source": "static",
        "can_cuda": True,
        "gpus": [{"index": 0, "uuid": "GPU-aa", "name": "card", "memory_bytes": 1 << 34, "source": "nvml"}],
        "cpu_percent": 12.5,
        "memory_percent": 50.0,
    }


def test_what_the_driver_keeps_of_a_card_cannot_be_given_away():
    card = device(figures=Figures(memory_reserved_bytes=1 << 30))

    kept = inventory.of_node(Host(cpus=1.0, memory_bytes=1, can_cuda=True), reading(card))

    assert [gpu["memory_bytes"] for gpu in kept["gpus"]] == [(1 << 34) - (1 << 30)]


def test_figures_come_back_from_a_row_as_they_went_and_newer_ones_do_no_harm():
    told = Figures(memory_used_bytes=5, throttle=("sw_power_cap",), power_w=71.5)
    newer = json.dumps({**json.loads(inventory.write_figures(told)), "fan_percent": 30})

    assert inventory.read_figures(newer) == told


def test_static_devices_have_a_size_and_no_figures():
    text = '[{"uuid": "sim-0", "name": "A100", "memory": "40Gi"}, {"uuid": "sim-1", "memory": 1024}]'

    first, second = probe.connect(ResourcesSettings(devices=text)).read().devices

    assert (first.uuid, first.name, first.memory_bytes, first.source) == ("sim-0", "A100", 40 << 30, Source.STATIC)
    assert (second.index, second.memory_bytes, second.figures) == (1, 1024, Figures())


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("{", "is no JSON"),
        ("{}", "must be a list"),
        ("[1]", "entry 0 does not"),
        ('[{"uuid": "a"}]', "entry 0 does not"),
        ('[{"uuid": "a", "memory": 1, "colour": "red"}]', "nothing else"),
        ('[{"uuid": "", "memory": 1}]', "printable"),
        ('[{"uuid": "cpu", "memory": 1}]', "not 'cpu'"),
        ('[{"uuid": "a", "name": "\\n", "memory": 1}]', "name must be printable"),
        ('[{"uuid": "a", "memory": "much"}]', "24Gi"),
        ('[{"uuid": "a", "memory": 0}]', "above 0"),
        ('[{"uuid": "a", "memory": 1}, {"uuid": "a", "memory": 1}]', "twice"),
    ],
)
def test_static_devices_that_make_no_sense_stop_the_start(text, complaint):
    with pytest.raises(BadSettings, match=complaint):
        probe_static.parse(text)


def test_a_recording_is_played_with_its_timing_and_then_again():
    frames = [Frame(at_s=at, devices=(device(uuid=f"GPU-{at:g}"),)) for at in (0.0, 1.0, 3.0)]
    now = 50.0
    played = ReplayProbe(frames, clock=lambda: 7.0, monotonic=lambda: now)
    shown = []

    for now in (50.0, 50.9, 51.0, 52.9, 53.0, 54.9, 55.0, 56.0):  # noqa: B007 - the probe reads it
        shown.append(played.read().devices[0].uuid)

    assert shown == ["GPU-0", "GPU-0", "GPU-1", "GPU-1", "GPU-3", "GPU-3", "GPU-0", "GPU-1"]
    assert (played.read().source, played.read().at) == (Source.REPLAY, 7.0)


def test_what_was_recorded_is_what_is_played_and_carries_its_own_source(tmp_path: Path):
    path = tmp_path / "card.jsonl"
    recorded = reading(device(figures=Figures(temperature_c=40.0, throttle=())))
    lines = [
        probe_replay.header(source=Source.NVML, note="by a test"),
        probe_replay.line(recorded, began_at=999.0),
        "",
    ]
    path.write_text("\n".join(lines))

    (frame,) = probe_replay.read(path)

    assert frame == Frame(
        at_s=1.0, devices=(device(source=Source.REPLAY, figures=Figures(temperature_c=40.0, throttle=())),)
    )


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        ("", "does not begin"),
        ("nonsense", "line 1 is no JSON"),
        ('{"format": "else"}', "does not begin"),
        ('{"format": "penstock-devices-1"}\n', "holds no reading"),
        ('{"format": "penstock-devices-1"}\n{"at_s": 0}', "line 2: .*devices"),
        ('{"format": "penstock-devices-1"}\n[]', "line 2 is no JSON object"),
        ('{"format": "penstock-devices-1"}\n{"at_s":1,"devices":[]}\n{"at_s":1,"devices":[]}', "must grow"),
    ],
)
def test_a_file_that_is_no_recording_stops_the_start_and_names_the_line(tmp_path: Path, content, complaint):
    path = tmp_path / "card.jsonl"
    path.write_text(content)

    with pytest.raises(BadSettings, match=complaint):
        probe.connect(ResourcesSettings(replay=str(path)))


def test_a_recording_that_is_not_there_stops_the_start(tmp_path: Path):
    with pytest.raises(BadSettings, match="cannot be read"):
        probe.connect(ResourcesSettings(replay=str(tmp_path / "none")))
