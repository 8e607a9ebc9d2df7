"""A board of progress, in memory."""


class FakeProgress:
    """`ProgressBoard`. `asked`: how often somebody looked; `lives_s`: what was said of how long reports are kept."""

    def __init__(self):
        self.reports = {}
        self.asked = 0
        self.removed = []
        self.lives_s = []

    def put(self, reports, *, ttl_s):
        self.reports.update(reports)
        self.lives_s.append(ttl_s)

    def remove(self, job_ids):
        self.removed += job_ids
        for job_id in job_ids:
            self.reports.pop(job_id, None)

    def get(self, job_ids):
        self.asked += 1
        return {job_id: self.reports[job_id] for job_id in job_ids if job_id in self.reports}
