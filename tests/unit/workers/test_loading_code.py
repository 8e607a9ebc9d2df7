"""A worker loads what runs code only for a service that allows it."""

import dataclasses

import pytest

from inference.errors import EngineLoadFailed, ModelRunsCode, NotFound
from inference.settings import EnginesSettings
from tests import fakes
from tests.unit.registry.artefacts import onnx, trap
from workers import loading


@pytest.fixture
def core():
    made = fakes.make_core()
    engines = EnginesSettings(plugins="unpickle=tests.engines_for_tests:Unpickle")
    yield dataclasses.replace(made, settings=dataclasses.replace(made.settings, engines=engines))
    made.close()


def model_of(core, content, **changes):
    """A model that was registered, whatever is thought of such artefacts today."""
    made = fakes.add_model(core, sha256=core.registry.blobs.put_bytes(content).key)
    return dataclasses.replace(made, **{"framework": "unpickle", **changes})


@pytest.mark.parametrize("runs_code", [True, False])
def test_a_pickle_is_not_opened_also_when_its_row_says_nothing(core, tmp_path, runs_code):
    model = model_of(core, trap(tmp_path / "mark"), runs_code=runs_code)

    with pytest.raises(ModelRunsCode, match=r"pickle: unpickling calls any function.*an admin must set allow_code"):
        loading.load(core, fakes.add_service(core, model=model), model)

    assert not (tmp_path / "mark").exists()


def test_what_its_row_says_is_enough_to_refuse(core):
    model = model_of(core, onnx(), framework="onnx", runs_code=True)

    with pytest.raises(ModelRunsCode, match="this service does not allow it"):
        loading.load(core, fakes.add_service(core, model=model), model)


def test_a_service_that_allows_it_opens_the_pickle(core, tmp_path):
    model = model_of(core, trap(tmp_path / "mark"), runs_code=True, golden="0" * 64)

    with pytest.raises(NotFound):  # there is no golden pair to check it by
        loading.load(core, fakes.add_service(core, model=model, allow_code=True), model)

    assert (tmp_path / "mark").is_dir()


def test_a_model_that_runs_no_code_needs_no_leave(core):
    model = model_of(core, b"\x08\x08\x3a\x00", framework="onnx")

    with pytest.raises(EngineLoadFailed):
        loading.load(core, fakes.add_service(core, model=model), model)
