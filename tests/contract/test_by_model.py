"""Which service answers for a model, on every database."""

import dataclasses

import pytest

from inference.access.model import Scope
from inference.errors import ModelNotFound, WrongState
from inference.jobs.by_model import CachedByModel
from inference.registry.model import ModelState
from inference.serving.model import ServiceState
from inference.store.models import SqlModels
from inference.store.services import SqlServices
from tests.contract.serving import make_service
from tests.contract.test_model_store import version

WHOLE = Scope("default")


@pytest.fixture
def by_model(database):
    """Finds among: 1.0.0 (runs twice), 2.0.0 (runs), 3.0.0 (stopped), 4.0.0 (deprecated, runs)."""
    models, services = SqlModels(database), SqlServices(database)
    for number, states in {
        "1.0.0": ["running", "running"],
        "2.0.0": ["running"],
        "3.0.0": ["stopped"],
        "4.0.0": ["running"],
    }.items():
        state = ModelState.DEPRECATED if number == "4.0.0" else ModelState.REGISTERED
        models.insert(model := version(number, state=state))
        for place, one in enumerate(states):
            made = make_service(f"{number}-{place}", tenant_id="default", state=ServiceState(one))
            services.insert(dataclasses.replace(made, model_id=model.id, workspace=f"w{place}"))
    return CachedByModel(services, models)


@pytest.mark.parametrize(("wanted", "found"), [("latest", "2.0.0"), ("1.0.0", "1.0.0"), ("4.0.0", "4.0.0")])
def test_latest_is_the_highest_version_that_runs_and_a_named_one_is_itself(by_model, wanted, found):
    service, model = by_model.find(WHOLE, "digits", wanted)

    assert model.version == found
    assert service.state is ServiceState.RUNNING


def test_services_of_a_version_take_turns(by_model):
    names = {by_model.find(WHOLE, "digits", "1.0.0")[0].name for _ in range(100)}

    assert names == {"1.0.0-0", "1.0.0-1"}


def test_a_key_finds_only_what_it_covers(by_model):
    names = {by_model.find(Scope("default", workspace="w1"), "digits", "latest")[0].name for _ in range(20)}

    assert names == {"1.0.0-1"}


@pytest.mark.parametrize(
    ("scope", "name", "wanted", "error"),
    [
        (WHOLE, "digits", "3.0.0", WrongState),
        (WHOLE, "digits", "9.9.9", ModelNotFound),
        (WHOLE, "digits", "no version", ModelNotFound),
        (WHOLE, "nothing", "latest", ModelNotFound),
        (Scope("other"), "digits", "latest", ModelNotFound),
    ],
)
def test_what_is_not_there_or_does_not_run_is_told_apart(by_model, scope, name, wanted, error):
    with pytest.raises(error):
        by_model.find(scope, name, wanted)
