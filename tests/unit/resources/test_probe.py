"""The probe: which cards are shown, and what a node row keeps of them."""

from pathlib import Path

import pytest

from inference.resources import probe
from inference.resources.model import Gpu, Host, Source


def gpu(index: int, uuid: str) -> Gpu:
    return Gpu(index=index, uuid=uuid, name="card", memory_bytes=1 << 34, source=Source.NVML)


CARDS = [gpu(0, "GPU-aa"), gpu(1, "GPU-ab"), gpu(2, "GPU-cc")]


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


def test_a_node_row_names_the_source_of_every_figure():
    found = Host(cpus=2.0, memory_bytes=8 << 30, gpus=(CARDS[0],), can_cuda=True)

    kept = probe.inventory(found)

    assert kept["source"] == "static"
    assert kept["gpus"] == [
        {"index": 0, "uuid": "GPU-aa", "name": "card", "memory_bytes": 1 << 34, "source": "nvml"},
    ]
    assert (kept["cpus"], kept["memory_bytes"], kept["can_cuda"]) == (2.0, 8 << 30, True)


def test_a_containers_limits_count_where_they_are_smaller(tmp_path: Path):
    (tmp_path / "cpu.max").write_text("50000 100000\n")
    (tmp_path / "memory.max").write_text("1048576\n")

    assert probe._cpus(tmp_path) == 0.5
    assert probe._memory_bytes(tmp_path) == 1 << 20


def test_no_limit_means_the_whole_host(tmp_path: Path):
    (tmp_path / "cpu.max").write_text("max 100000\n")
    (tmp_path / "memory.max").write_text("max\n")

    assert probe._cpus(tmp_path) >= 1
    assert probe._memory_bytes(tmp_path) > 1 << 20


def test_a_host_without_a_driver_has_no_cards(monkeypatch):
    monkeypatch.setattr(probe, "_gpus", lambda: iter(()))

    assert probe.host().gpus == ()
