"""What comparisons read, in memory: beside the job store, whose rows it shares."""

from collections import Counter

from inference.jobs.model import FINAL, JobState
from inference.results.model import Ended, Total


class FakeSamples:
    """`Samples`. `inputs`: what stands for the input of a job, by id."""

    def __init__(self, jobs):
        self.jobs = jobs
        self.inputs = {}

    def _inside(self, span):
        views = self.jobs.views_by_id.values()
        return [
            view
            for view in sorted(views, key=lambda view: view.id, reverse=True)
            if view.service_id == span.service_id
            and view.state in FINAL
            and span.version in (None, view.model_version)
            and (span.since is None or view.created_at >= span.since)
            and (span.until is None or view.created_at < span.until)
        ]

    def totals(self, scope, span):
        counts = Counter((view.state.value, view.error_code) for view in self._inside(span))
        return [Total(state=state, error_code=code, count=count) for (state, code), count in counts.items()]

    def newest(self, scope, span, *, limit):
        done = [view for view in self._inside(span) if view.state is JobState.COMPLETED]
        return [
            Ended(id=view.id, created_at=view.created_at, started_at=view.started_at, completed_at=view.completed_at)
            for view in done[:limit]
        ]

    def digests(self, scope, job_ids):
        return {job_id: self.inputs[job_id] for job_id in job_ids if job_id in self.inputs}

    def bodies(self, scope, job_ids):
        return {job_id: self.jobs.views_by_id[job_id].result for job_id in job_ids}
