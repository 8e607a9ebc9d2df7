"""Pickles that leave a mark when they are loaded, registered for real: database, blob store, child process."""

import pytest

from inference.blobs.files import FileBlobs
from inference.errors import ModelRunsCode
from inference.registry import query
from inference.registry.ports import RegistryPorts
from inference.registry.register import register
from inference.settings import EnginesSettings, RegistrySettings
from inference.store.models import SqlModels
from inference.store.uploads import SqlUploads
from tests.unit.registry.artefacts import trap, zipped

PLUGINS = "unpickle=tests.engines_for_tests:Unpickle"


@pytest.fixture
def ports(database, tmp_path):
    return RegistryPorts(
        models=SqlModels(database),
        uploads=SqlUploads(database),
        blobs=FileBlobs(tmp_path / "blobs"),
        settings=RegistrySettings(validate_timeout_s=20),
        engines=EnginesSettings(plugins=PLUGINS),
    )


def put(ports, path, **changes):
    body = {"name": "m", "version": "1.0.0", "framework": "unpickle", "model_path": str(path)}
    return register(ports, tenant_id="default", **{**body, **changes})


@pytest.mark.parametrize("wrap", [bytes, lambda content: zipped({"model/data.pkl": content})], ids=["bare", "torch"])
def test_a_refused_pickle_is_never_loaded_and_nothing_of_it_is_kept(ports, tmp_path, wrap):
    mark, model = tmp_path / "mark", tmp_path / "model.onnx"
    model.write_bytes(wrap(trap(mark)))

    with pytest.raises(ModelRunsCode):
        put(ports, model)

    assert not mark.exists()
    assert ports.models.list("default") == []
    assert not [path for path in (tmp_path / "blobs").rglob("*") if path.is_file()]


def test_an_allowed_pickle_is_loaded_in_its_trial_and_marked(ports, tmp_path):
    mark, model = tmp_path / "mark", tmp_path / "model.pkl"
    model.write_bytes(trap(mark))

    registered = put(ports, model, allow_code=True)

    assert mark.is_dir()
    assert registered.runs_code
    assert query.get(ports, tenant_id="default", model_id=registered.id) == registered
