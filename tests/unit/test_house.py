"""The rules of the house that no other tool holds."""

import re
import subprocess
import tomllib
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from inference import errors

ROOT = Path(__file__).parents[2]
THIS = Path(__file__).relative_to(ROOT)
LIMIT = 400
PYTHON = ("*.py",)
# Put together here so that this file does not hold what it looks for.
UNFINISHED = re.compile("|".join(["TO" + "DO", "FIX" + "ME", "X" + "XX", "NotImplemented" + "Error"]))
MACHINE = re.compile("|".join([r"/wo" + "rk/", r"/ro" + "ot/", r"/ho" + r"me/(?!user\b|you\b)", r"/Us" + r"ers/\w"]))
HOSTS = ("py" + r"pi\.", "pythonho" + r"sted\.", "art" + "ifactory", "nex" + "us", r"registry\.")
REGISTRY = re.compile(rf"https?://[\w.-]*({'|'.join(HOSTS)})")
TEXT = (".py", ".toml", ".txt", ".md", ".yml", ".yaml", ".sh", ".conf", ".json", ".ini", ".cfg", ".mako", ".lua", "")


def committed(*patterns: str) -> list[Path]:
    """Files that git knows; all of a source tree without git."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", *patterns], cwd=ROOT, capture_output=True, text=True, check=False
    ).stdout
    names = [Path(name) for name in listed.split("\0") if name]
    return [name for name in names if (ROOT / name).is_file() and name != THIS]


def matches(pattern: re.Pattern[str], names: list[Path]) -> list[str]:
    return [
        f"{name}:{number}: {line.strip()[:80]}"
        for name in names
        if name.suffix in TEXT
        for number, line in enumerate((ROOT / name).read_text(errors="replace").splitlines(), 1)
        if pattern.search(line)
    ]


@pytest.fixture(scope="module")
def python_files() -> list[Path]:
    files = committed(*PYTHON)
    assert len(files) > 50
    return files


def test_no_file_is_longer_than_a_person_reads(python_files: list[Path]):
    long = {
        str(name): length for name in python_files if (length := len((ROOT / name).read_text().splitlines())) > LIMIT
    }

    assert long == {}


def test_nothing_is_left_for_later(python_files: list[Path]):
    assert matches(UNFINISHED, python_files) == []


def test_no_file_names_a_machine():
    assert matches(MACHINE, committed()) == []


def test_no_file_names_a_package_registry():
    assert matches(REGISTRY, committed()) == []


def test_every_module_says_what_it_is_for(python_files: list[Path]):
    silent = []
    for name in python_files:
        text = (ROOT / name).read_text()
        if name.name != "__init__.py" and not re.match(r'(#![^\n]*\n)?r?"""', text):
            silent.append(str(name))

    assert silent == []


def test_packages_hold_no_code_of_their_own(python_files: list[Path]):
    assert [str(name) for name in python_files if name.name == "__init__.py" and (ROOT / name).read_text()] == []


def pinned(name: str) -> dict[str, str]:
    lines = (ROOT / "requirements" / f"{name}.txt").read_text().splitlines()
    pins = [line.split(";")[0].split("==") for line in lines if line.strip() and not line.startswith("#")]
    assert all(len(pin) == 2 for pin in pins), [pin for pin in pins if len(pin) != 2]
    return {plain(package): version.strip() for package, version in pins}


def leads_to(lines: list[str]) -> set[str]:
    """These packages and all that they need on this machine, as their installed metadata say."""
    left, seen = [Requirement(line) for line in lines], set[str]()
    found = set[str]()
    while left:
        line = left.pop()
        if str(line) in seen:
            continue
        seen.add(str(line))
        found.add(plain(line.name))
        for need in map(Requirement, metadata.requires(line.name) or []):
            if need.marker is None or any(need.marker.evaluate({"extra": extra}) for extra in ["", *line.extras]):
                need.marker = None
                left.append(need)
    return found


def plain(package: str) -> str:
    return re.sub(r"[-_.]+", "-", re.split(r"[\[<>=;! ]", package.strip())[0]).lower()


@pytest.mark.parametrize("kind", ["cpu", "gpu", "dev", "extras"])
def test_requirements_are_pins_without_addresses(kind: str):
    text = (ROOT / "requirements" / f"{kind}.txt").read_text()

    assert "://" not in text
    assert "--" not in text
    assert len(pinned(kind)) > 20


@pytest.mark.parametrize(
    ("kind", "extras"),
    [
        ("cpu", ["cpu"]),
        ("gpu", ["gpu"]),
        ("dev", ["cpu", "dev", "bench", "reports", "s3", "traces"]),
    ],
)
def test_requirements_hold_everything_that_the_project_names(kind: str, extras: list[str]):
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    optional = project["optional-dependencies"]
    named = {
        plain(text) for text in [*project["dependencies"], *(line for extra in extras for line in optional[extra])]
    }

    assert named - set(pinned(kind)) == set()


def test_the_two_engines_that_own_one_folder_are_never_installed_together():
    for kind in ("cpu", "gpu", "dev"):
        assert len({"onnxruntime", "onnxruntime-gpu"} & set(pinned(kind))) == 1


@pytest.mark.parametrize("kind", ["cpu", "extras"])
def test_the_development_pins_agree_with_the_pins_that_users_get(kind: str):
    dev, users = pinned("dev"), pinned(kind)

    assert {name: (users[name], dev.get(name)) for name in users if dev.get(name) != users[name]} == {}


@pytest.mark.parametrize("kind", ["cpu", "gpu"])
def test_the_optional_pins_are_what_the_others_lack_and_all_of_it(kind: str):
    optional = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    lines = [*optional["reports"], *optional["s3"], *optional["traces"]]

    extras, base = set(pinned("extras")), set(pinned(kind))

    assert extras & base == set()
    assert leads_to(lines) - extras - base == set()
    assert {plain(line) for line in lines} <= extras


def tree(root: type[errors.PenstockError]) -> list[type[errors.PenstockError]]:
    return [root, *(leaf for child in root.__subclasses__() for leaf in tree(child))]


def test_every_error_has_a_code_of_its_own():
    codes = [kind.code for kind in tree(errors.PenstockError)]

    assert len(codes) > 30
    assert len(codes) == len(set(codes))


def test_every_error_stands_in_the_one_tree_and_in_its_drawing():
    drawn = set(re.findall(r"\b[A-Z]\w+", errors.__doc__ or ""))
    known = {kind.__name__ for kind in tree(errors.PenstockError) if kind.__module__ == errors.__name__}

    assert known - drawn == set()
    assert {kind.__module__ for kind in tree(errors.PenstockError)} == {errors.__name__}
