"""What loading took of the host: the growth of this process's own pages."""

from pathlib import Path

import pytest

from inference.resources.footprint import Footprint


def write(path: Path, anonymous_kb: int) -> Path:
    path.write_text(f"Name:\tx\nVmRSS:\t 999999 kB\nRssAnon:\t {anonymous_kb} kB\nRssFile:\t 500 kB\n")
    return path


def test_the_growth_of_the_process_is_what_an_engine_on_the_cpu_took(tmp_path: Path):
    status = write(tmp_path / "status", 10_000)
    seen = Footprint("cpu", status=status)

    write(status, 30_000)
    taken = seen.taken("cpu")

    assert taken is not None
    assert taken.bytes == 20_000 * 1024
    assert taken.basis.startswith("measured: growth of the process")


@pytest.mark.parametrize("after_kb", [10_000, 10_500, 9_000])
def test_growth_that_could_be_noise_says_nothing(tmp_path: Path, after_kb: int):
    status = write(tmp_path / "status", 10_000)
    seen = Footprint("cpu", status=status)

    write(status, after_kb)

    assert seen.taken("cpu") is None


def test_where_the_kernel_does_not_say_nothing_is_known(tmp_path: Path):
    assert Footprint("cpu", status=tmp_path / "none").taken("cpu") is None


def test_an_engine_on_a_card_that_nobody_asked_of_says_nothing(tmp_path: Path):
    assert Footprint("cpu").taken("cuda") is None
