"""A log store in memory, for unit tests."""

import json
from collections import Counter

from inference.logs.model import Entry, Group, at_of, id_at
from inference.logs.ports import LogsPorts
from inference.settings import LogsSettings


class FakeLogs:
    """`LogStore` and `Deploys`. `error`: what every write raises."""

    def __init__(self):
        self.rows, self.error, self.deployed = {}, None, {}

    def put(self, rows):
        if self.error is not None:
            raise self.error
        for row in rows:
            self.rows.setdefault(row.id, row)

    def _found(self, asked):
        for row in sorted(self.rows.values(), key=lambda one: -one.id):
            begun = f" {row.words}"
            if (
                asked.service_id in (None, row.service_id)
                and asked.task_id in (None, row.task_id)
                and row.level >= asked.level.number
                and (asked.since is None or row.id >= id_at(asked.since))
                and (asked.until is None or row.id < id_at(asked.until))
                and (asked.before_id is None or row.id < asked.before_id)
                and all(f" {' '.join(term)}" in begun for term in asked.terms)
            ):
                yield row

    def find(self, asked):
        return [entry_of(row) for row in list(self._found(asked))[: asked.limit]]

    def counts(self, asked, *, step_s):
        counted = Counter((int(at_of(row.id) // step_s), row.level) for row in self._found(asked))
        return [(step, level, count) for (step, level), count in counted.items()]

    def top(self, asked, *, limit):
        return Counter(row.event for row in self._found(asked)).most_common(limit)

    def groups(self, asked, *, limit):
        by_mark = {}
        for row in self._found(asked):
            if row.fingerprint is not None:
                by_mark.setdefault(row.fingerprint, []).append(row)
        return [self._group(mark, rows, asked) for mark, rows in by_mark.items()][:limit]

    def _group(self, mark, rows, asked):
        before = id_at(asked.since or 0)
        return Group(
            fingerprint=mark,
            level=max(row.level for row in rows),
            count=len(rows),
            first_at=at_of(rows[-1].id),
            last_at=at_of(rows[0].id),
            message=rows[0].event,
            is_new=not any(row.fingerprint == mark and row.id < before for row in self.rows.values()),
        )

    def forget(self, *, keep_s, keep_rows, limit):
        gone = sorted(self.rows)[: max(0, len(self.rows) - keep_rows)][:limit]
        for one in gone:
            del self.rows[one]
        return len(gone)

    def deployed_at(self, _scope, service_id):
        return self.deployed.get(service_id)


def entry_of(row):
    names = ("id", "level", "event", "service_id", "task_id", "trace_id")
    return Entry(**{name: getattr(row, name) for name in names}, fields=json.loads(row.fields))


def make_logs(store=None):
    store = store or FakeLogs()
    return LogsPorts(store=store, deploys=store, settings=LogsSettings())
