"""What a model file is, told by what it holds."""

import pickle
import random
import struct
from pathlib import Path

import pytest

from inference.registry.formats import recognise, recognise_bytes
from inference.registry.formats_pickle import View
from tests.unit.registry import artefacts
from tests.unit.registry.artefacts import CODE, DATA


@pytest.mark.parametrize("what", DATA)
def test_what_holds_data_only_is_taken_for_data(what: str, tmp_path: Path):
    content, name = DATA[what]
    (tmp_path / "model.pkl").write_bytes(content)

    found = recognise(tmp_path / "model.pkl")

    assert (found.name, found.runs_code) == (name, False)


@pytest.mark.parametrize("what", CODE)
def test_what_runs_code_is_told_by_its_content_and_not_run(what: str, tmp_path: Path, monkeypatch):
    content, name = CODE[what]
    (tmp_path / "model.onnx").write_bytes(content)
    monkeypatch.chdir(tmp_path)

    found = recognise(tmp_path / "model.onnx")

    assert (found.name, found.runs_code) == (name, True)
    assert found.why
    assert [path.name for path in tmp_path.iterdir()] == ["model.onnx"]


@pytest.mark.parametrize("what", CODE)
def test_what_is_in_memory_is_judged_as_what_lies_in_a_file(what: str):
    content, name = CODE[what]

    assert recognise_bytes(View(content=content, size_bytes=len(content))).name == name


def test_the_pickles_of_the_table_do_run_code_when_they_are_loaded(tmp_path: Path):
    for protocol in artefacts.PROTOCOLS:
        pickle.loads(artefacts.trap(tmp_path / str(protocol), protocol))

    assert {path.name for path in tmp_path.iterdir()} == set(map(str, artefacts.PROTOCOLS))


def test_opcodes_without_end_count_as_a_pickle():
    content = b"N0" * 200_000

    assert recognise_bytes(View(content=content, size_bytes=len(content))).name == "pickle"


def test_a_zip_whose_directory_is_said_to_be_larger_than_any_memory_is_refused_unread():
    end64 = b"PK\x06\x06" + struct.pack("<QHHIIQQQQ", 44, 45, 45, 0, 0, 1 << 40, 1 << 40, 1 << 46, 0)
    content = b"PK\x03\x04" + end64 + b"PK\x06\x07" + bytes(16) + b"PK\x05\x06" + b"\xff" * 16 + b"\0\0"

    found = recognise_bytes(View(content=content, size_bytes=len(content)))

    assert (found.name, found.runs_code) == ("zip archive", True)


@pytest.mark.parametrize("seed", range(20))
def test_a_damaged_file_of_any_format_is_judged_without_an_error(seed: int):
    rng = random.Random(seed)

    for content, _ in [*CODE.values(), *DATA.values()]:
        damaged = bytearray(content[:20_000])
        for _ in range(min(len(damaged), 8)):
            damaged[rng.randrange(min(len(damaged), 600))] = rng.randrange(256)
        cut = bytes(damaged[: rng.randrange(len(damaged) + 1)])
        for shown in (bytes(damaged), cut):
            assert recognise_bytes(View(content=shown, size_bytes=len(shown))).name


@pytest.mark.parametrize(
    ("content", "runs_code"),
    [
        (b"<?xml ?>" + b"<!---->" * 580, False),
        (b"import" + b" \t" * (1 << 19), True),
        (b"I1\n0" * 400_000, True),
        (artefacts.field(9, b"") * 150_000, True),
        (artefacts.field(2, artefacts.field(3, 0) * 300 + b"\xff") * 3000, True),
        (artefacts.field(2, b"\x01" * 300) * 3000, False),
        (artefacts.zipped({f"f{n}": b"N0" * 2047 + b"\xff" for n in range(200)}), False),
        (b"PK\x05\x06" * 20_000, True),
    ],
)
def test_what_is_made_to_be_slow_to_look_through_is_judged_all_the_same(content: bytes, runs_code: bool):
    assert recognise_bytes(View(content=content, size_bytes=len(content))).runs_code is runs_code


def test_noise_is_hardly_ever_taken_for_code():
    rng = random.Random(7)
    noise = [rng.randbytes(4096) for _ in range(2000)]

    taken = [
        found.name for content in noise if (found := recognise_bytes(View(content=content, size_bytes=4096))).runs_code
    ]

    assert len(taken) < 10, taken
