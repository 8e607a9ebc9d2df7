"""What may be used of the host, how busy it is, and what the processes of a replica use."""

import os
from pathlib import Path

from inference.resources import host
from inference.resources.host import LoadMeter
from inference.resources.model import Host
from inference.resources.processes import UsageMeter

TICKS = os.sysconf("SC_CLK_TCK")
PAGE = os.sysconf("SC_PAGE_SIZE")


def limits(folder: Path, *, cpu: str, memory: str) -> Path:
    (folder / "cpu.max").write_text(f"{cpu}\n")
    (folder / "memory.max").write_text(f"{memory}\n")
    return folder


def test_a_containers_limits_count_where_they_are_smaller(tmp_path: Path):
    limits(tmp_path, cpu="50000 100000", memory="1048576")

    assert host._cpus(tmp_path) == 0.5
    assert host._memory_bytes(tmp_path) == 1 << 20


def test_no_limit_means_the_whole_host(tmp_path: Path):
    limits(tmp_path, cpu="max 100000", memory="max")

    assert host._cpus(tmp_path) >= 1
    assert host._memory_bytes(tmp_path) > 1 << 20


def test_in_a_container_the_load_is_that_of_the_container(tmp_path: Path):
    limits(tmp_path, cpu="200000 100000", memory="1000")
    (tmp_path / "cpu.stat").write_text("usage_usec 1000000\nuser_usec 5\n")
    (tmp_path / "memory.current").write_text("600\n")
    (tmp_path / "memory.stat").write_text("anon 5\ninactive_file 100\n")
    now_s = 10.0
    meter = LoadMeter(Host(cpus=2.0, memory_bytes=1000, can_cuda=False), cgroup=tmp_path, monotonic=lambda: now_s)

    now_s = 12.0
    (tmp_path / "cpu.stat").write_text("usage_usec 2000000\nuser_usec 5\n")
    load = meter.read()

    assert (load.cpu_percent, load.memory_percent) == (25.0, 50.0)


def test_on_a_whole_host_the_load_is_between_nothing_and_all_of_it(tmp_path: Path):
    load = LoadMeter(Host(cpus=1.0, memory_bytes=1, can_cuda=False), cgroup=tmp_path).read()

    assert 0 <= load.cpu_percent <= 100
    assert 0 < load.memory_percent < 100


def process(proc: Path, pid: int, *, session: int, cpu_s: float, pages: int, started: int = 1) -> None:
    fields = ["S", "1", "1", str(session), *["0"] * 7, str(int(cpu_s * TICKS)), "0", *["0"] * 6, str(started), "0"]
    (proc / str(pid)).mkdir(exist_ok=True)
    (proc / str(pid) / "stat").write_text(f"{pid} (a) b ({pid})) {' '.join([*fields, str(pages)])} 0\n")


def test_the_processes_of_a_session_are_added_up_and_the_end_of_one_is_no_step_back(tmp_path: Path):
    now_s = 0.0
    meter = UsageMeter(proc=tmp_path, monotonic=lambda: now_s)
    process(tmp_path, 10, session=10, cpu_s=1.0, pages=2)
    process(tmp_path, 11, session=10, cpu_s=4.0, pages=3)
    process(tmp_path, 20, session=20, cpu_s=9.0, pages=9)
    (tmp_path / "self").mkdir()

    now_s = 10.0
    first = meter.read([10])[10]
    (tmp_path / "11" / "stat").unlink()
    process(tmp_path, 10, session=10, cpu_s=2.0, pages=2)
    now_s = 12.0
    second = meter.read([10, 20])

    assert (first.cpu_percent, first.cpu_s, first.rss_bytes, first.processes) == (50.0, 5.0, 5 * PAGE, 2)
    assert (second[10].cpu_percent, second[10].cpu_s, second[10].processes) == (50.0, 6.0, 1)
    assert second[20].rss_bytes == 9 * PAGE


def test_a_number_that_came_back_is_another_process(tmp_path: Path):
    now_s = 0.0
    meter = UsageMeter(proc=tmp_path, monotonic=lambda: now_s)
    process(tmp_path, 10, session=10, cpu_s=8.0, pages=1)
    meter.read([10])

    now_s = 1.0
    process(tmp_path, 10, session=10, cpu_s=0.5, pages=1, started=2)

    assert meter.read([10])[10].cpu_percent == 50.0


def test_a_replica_without_a_living_process_uses_nothing(tmp_path: Path):
    assert UsageMeter(proc=tmp_path).read([10]) == {}
