"""A restore while what it must ask is away."""

import dataclasses

import pytest

from inference.backup import archive, make
from inference.backup.restore import restore
from inference.errors import Unavailable
from inference.store.database import Database
from inference.store.models import SqlModels
from tests.contract.backups import add_model, add_tenant, make_ports


@pytest.mark.parametrize("is_dry", [True, False])
def test_a_model_is_not_called_lost_while_nobody_can_look_for_its_artefact(database: Database, is_dry: bool) -> None:
    ports = make_ports(database)
    model = add_model(database, add_tenant(database, "acme"))
    kept = archive.read(archive.write(make.read(ports, tenant_id="acme")))
    SqlModels(database).delete("acme", model.id)

    def away(key: str) -> bool:
        raise Unavailable("The bucket is away.", part="blobs")

    with pytest.raises(Unavailable):
        restore(
            dataclasses.replace(ports, has_blob=away), kept, tenant_id="acme", is_dry=is_dry, skips_refused=not is_dry
        )
