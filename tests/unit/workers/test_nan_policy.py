"""Whose word on NaN counts: the service's, then its model's."""

import dataclasses

import pytest

from inference.jobs.cache import nan_policy_of
from inference.tensors import NanPolicy
from tests import fakes


@pytest.mark.parametrize(
    ("of_service", "of_model", "expected"),
    [
        ({}, {}, NanPolicy.NULL),
        ({}, {"nan_policy": "fail"}, NanPolicy.FAIL),
        ({"nan_policy": "pass"}, {"nan_policy": "fail"}, NanPolicy.PASS),
        ({"nan_policy": "null"}, {"nan_policy": "fail"}, NanPolicy.NULL),
        ({}, {"nan_policy": None}, NanPolicy.NULL),
    ],
)
def test_the_service_is_heard_before_its_model(of_service, of_model, expected):
    core = fakes.make_core()
    model = dataclasses.replace(fakes.add_model(core), deployment_config=of_model)
    service = fakes.add_service(core, model=model, **of_service)
    core.close()

    assert nan_policy_of(service.config, model) is expected
