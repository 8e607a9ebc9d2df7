"""The cache of results in memory."""

from inference.jobs.cache_model import Kept, Used


class FakeResultCache:
    """`ResultCache`; `answers` maps the key of an input to what is kept."""

    def __init__(self):
        self.answers = {}
        self.hits = 0
        self.looks = []

    def find(self, service, input_key, *, key_id, rows, now_s):
        self.looks.append((service.id, input_key))
        body = self.answers.get(input_key)
        self.hits += body is not None
        return None if body is None else Kept(body=body, model_version="1.0.0")

    def flush(self):
        pass

    def put(self, by, outcomes, keep):
        self.answers.update({one.job.input_key: one.result for one in outcomes})

    def used(self, scope, service_id):
        size = sum(map(len, self.answers.values()))
        return Used(
            entries=len(self.answers), size_bytes=size, hits=self.hits, misses=len(self.answers), coalesced=0, former=0
        )

    def clear(self, scope, service_id):
        removed = len(self.answers)
        self.answers.clear()
        return removed

    def owners(self):
        return []
