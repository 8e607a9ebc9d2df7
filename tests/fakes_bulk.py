"""The store of very many, in memory: beside the job store, whose rows it shares."""

from inference.errors import ServiceNotFound
from inference.jobs.block import Page
from inference.jobs.model import FINAL, NewJob, Submission


class FakeBulk:
    """`BulkStore`."""

    def __init__(self, jobs):
        self.jobs = jobs
        self.blocks = []

    def insert(self, block):
        if block.service_id not in self.jobs._services.rows:
            raise ServiceNotFound(f"There is no service {block.service_id}.", service_id=block.service_id)
        self.blocks.append(block)
        rows = [
            dict(block.alike) | {name: values[index] for name, values in block.differing.items()}
            for index in range(len(block.ids))
        ]
        jobs = [
            NewJob(
                id=job_id,
                order_key=order_key,
                payload=payload,
                tenant_id=block.tenant_id,
                service_id=block.service_id,
                metadata_json=row.pop("metadata"),
                **row,
            )
            for job_id, order_key, payload, row in zip(block.ids, block.order_keys, block.payloads, rows, strict=True)
        ]
        (answer,) = self.jobs.insert([Submission(tenant_id=block.tenant_id, jobs=tuple(jobs))])
        if isinstance(answer, Exception):
            raise answer

    def page(self, scope, which, *, after, limit):
        states = FINAL if which.state is None else {which.state}
        found = sorted(
            (
                view
                for view in self.jobs.views_by_id.values()
                if view.service_id == which.service_id
                and view.state in states
                and which.priority in (None, view.priority)
                and which.model_version in (None, view.model_version)
                and which.error_code in (None, view.error_code)
                and view.id > (after or "")
            ),
            key=lambda view: view.id,
        )
        return Page(views=found[:limit], after=found[limit - 1].id if len(found) > limit else None)
