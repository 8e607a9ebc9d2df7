"""Every table. `jobs` is narrow: what is large or rarely read lies in write-once side tables.

Times are epoch seconds; JSON is text, written and read by our own code.
"""

import sqlalchemy as sa

metadata = sa.MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)

ID = sa.String(32)
TIME: sa.Double[float] = sa.Double()


def _id(name: str = "id") -> "sa.Column[str]":
    return sa.Column(name, ID, primary_key=True)


def _text(name: str, *, null: bool = False) -> "sa.Column[str]":
    return sa.Column(name, sa.Text, nullable=null)


def _int(name: str, default: int | None = None) -> "sa.Column[int]":
    server_default = None if default is None else sa.text(str(default))
    return sa.Column(name, sa.Integer, nullable=False, server_default=server_default)


def _time(name: str, *, null: bool = False) -> "sa.Column[float]":
    return sa.Column(name, TIME, nullable=null)


def _tenant() -> "sa.Column[str]":
    return sa.Column("tenant_id", sa.String(64), nullable=False)


tenants = sa.Table(
    "tenants",
    metadata,
    sa.Column("id", sa.String(64), primary_key=True),
    _text("name"),
    _time("created_at"),
    sa.Column("limits", sa.Text, nullable=False, server_default="{}"),
    _time("disabled_at", null=True),
    sa.Column("epoch", sa.BigInteger, nullable=False, server_default=sa.text("0")),
)

api_keys = sa.Table(
    "api_keys",
    metadata,
    sa.Column("id", sa.String(16), primary_key=True),
    _tenant(),
    sa.Column("workspace", sa.String(64)),
    sa.Column("service_id", ID, index=True),
    sa.Column("is_system", sa.Boolean, nullable=False),
    sa.Column("is_for_service", sa.Boolean, nullable=False),
    _text("name"),
    sa.Column("role", sa.String(12), nullable=False),
    sa.Column("digest", sa.LargeBinary, nullable=False),
    sa.Column("previous_digest", sa.LargeBinary),
    _time("previous_until", null=True),
    _text("limits"),
    _time("created_at"),
    _text("created_by"),
    _time("expires_at", null=True),
    _time("rotated_at", null=True),
    _time("revoked_at", null=True),
    sa.Column("epoch", sa.BigInteger, nullable=False, index=True),
    sa.Index(None, "tenant_id", "created_at"),
)

access_epoch = sa.Table(
    "access_epoch",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("epoch", sa.BigInteger, nullable=False),
)
"""One row. Every change of a key or a tenant takes the next number, so that processes see what is new to them."""

audit = sa.Table(
    "audit",
    metadata,
    sa.Column("seq", sa.BigInteger, primary_key=True, autoincrement=False),
    _time("at"),
    _tenant(),
    _text("actor_kind"),
    _text("actor_id"),
    _text("actor_name"),
    _text("address"),
    _text("operation"),
    _text("action"),
    _text("object_kind"),
    _text("object_id"),
    _text("before"),
    _text("after"),
    sa.Column("previous_hash", sa.String(64), nullable=False),
    sa.Column("hash", sa.String(64), nullable=False),
    sa.Index(None, "tenant_id", "seq"),
    sa.Index(None, "object_id", "seq"),
)

audit_head = sa.Table(
    "audit_head",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("seq", sa.BigInteger, nullable=False),
    sa.Column("hash", sa.String(64), nullable=False),
)
"""One row: where the chain ends. Appending locks it, so that the chain has one end."""

usage = sa.Table(
    "usage",
    metadata,
    sa.Column("day", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("tenant_id", sa.String(64), primary_key=True),
    sa.Column("key_id", sa.String(16), primary_key=True),
    sa.Column("service_id", ID, primary_key=True),
    sa.Column("instance_id", ID, primary_key=True),
    sa.Column("jobs", sa.BigInteger, nullable=False),
    sa.Column("rows", sa.BigInteger, nullable=False),
    sa.Column("engine_s", sa.Double, nullable=False),
    sa.Index(None, "tenant_id", "day"),
)
"""Added to in the transaction that ends a job. `instance_id` keeps two workers from waiting for one row."""

models = sa.Table(
    "models",
    metadata,
    _id(),
    _tenant(),
    _text("name"),
    _text("version"),
    _text("framework"),
    _text("state"),
    _text("sha256"),
    sa.Column("size_bytes", sa.BigInteger, nullable=False),
    _text("golden"),
    _text("signature"),
    _text("hooks"),
    _text("metadata"),
    _text("accuracy_metrics"),
    _text("deployment_config"),
    _time("created_at"),
    sa.Column("runs_code", sa.Boolean, nullable=False, server_default=sa.false()),
    sa.UniqueConstraint("tenant_id", "name", "version"),
)

uploads = sa.Table(
    "uploads",
    metadata,
    _id(),
    _tenant(),
    _text("sha256"),
    sa.Column("size_bytes", sa.BigInteger, nullable=False),
    _time("created_at"),
)

deployments = sa.Table(
    "deployments",
    metadata,
    _id(),
    _tenant(),
    sa.Column("model_id", ID, nullable=False),
    sa.Column("service_id", ID, nullable=False),
    _text("environment"),
    _text("config"),
    _time("created_at"),
    sa.Index(None, "tenant_id", "created_at"),
)

services = sa.Table(
    "services",
    metadata,
    _id(),
    _tenant(),
    _text("name"),
    sa.Column("model_id", ID, nullable=False),
    _text("state"),
    _text("config"),
    sa.Column("queue_while_stopped", sa.Boolean, nullable=False),
    _int("revision"),
    _time("created_at"),
    _time("updated_at"),
    _time("started_at", null=True),
    _time("stopped_at", null=True),
    _time("scaled_at", null=True),
    _text("reason", null=True),
    _text("suggested_action", null=True),
    sa.Column("workspace", sa.String(64), nullable=False, server_default=""),
    sa.UniqueConstraint("tenant_id", "name"),
)

service_events = sa.Table(
    "service_events",
    metadata,
    _id(),
    sa.Column("service_id", ID, nullable=False),
    _time("at"),
    _text("from_state"),
    _text("to_state"),
    _text("reason"),
    sa.Index(None, "service_id", "id"),
)

replicas = sa.Table(
    "replicas",
    metadata,
    _id(),
    sa.Column("service_id", ID, nullable=False, index=True),
    _int("ordinal"),
    sa.Column("node_id", sa.String(128), nullable=False, index=True),
    _text("device"),
    _text("desired"),
    _text("observed"),
    _int("generation"),
    _int("revision"),
    _int("instances"),
    _int("instances_ready"),
    _int("load_failures"),
    _int("restarts"),
    sa.Column("pid", sa.Integer),
    _text("reason", null=True),
    _time("reported_at"),
    sa.UniqueConstraint("service_id", "ordinal"),
)

nodes = sa.Table(
    "nodes",
    metadata,
    sa.Column("id", sa.String(128), primary_key=True),
    _text("host"),
    _text("inventory"),
    _time("heartbeat_at"),
)

instances = sa.Table(
    "instances",
    metadata,
    _id(),
    sa.Column("service_id", ID, nullable=False, index=True),
    sa.Column("replica_id", ID, nullable=False, index=True),
    _int("slot"),
    _int("replica_generation"),
    _int("generation"),
    sa.Column("pid", sa.Integer, nullable=False),
    _time("lease_until"),
    _time("opened_at"),
)

profiles = sa.Table(
    "profiles",
    metadata,
    sa.Column("model_id", ID, primary_key=True),
    sa.Column("device_kind", sa.String(128), primary_key=True),
    _text("provider"),
    _int("max_batch"),
    _text("curve"),
    _time("measured_at"),
)

ticks = sa.Table(
    "ticks",
    metadata,
    sa.Column("name", sa.String(64), primary_key=True),
    _time("taken_at"),
    _text("taken_by"),
    sa.Column("count", sa.BigInteger, nullable=False),
)

jobs = sa.Table(
    "jobs",
    metadata,
    _id(),
    _tenant(),
    sa.Column("service_id", ID, nullable=False),
    sa.Column("state", sa.String(12), nullable=False),
    sa.Column("priority", sa.SmallInteger, nullable=False),
    _time("order_key"),
    _time("submitted_at"),
    _time("not_before", null=True),
    _time("deadline", null=True),
    _time("timeout_s"),
    sa.Column("bucket", sa.Text, nullable=False),
    _int("rows"),
    _int("generation", 1),
    _int("attempt", 0),
    _int("max_attempts"),
    _int("crashes", 0),
    _int("batch_cap", 0),
    sa.Column("instance_id", ID),
    sa.Column("instance_generation", sa.Integer),
    _time("claimed_at", null=True),
    _time("started_at", null=True),
    _time("completed_at", null=True),
    _time("cancel_requested_at", null=True),
    sa.Column("batch_size", sa.Integer),
    _text("model_version", null=True),
    _text("worker", null=True),
    _text("error_code", null=True),
    _text("error_message", null=True),
    _text("callback_url", null=True),
    _text("metadata", null=True),
    sa.Column("key_id", sa.String(16)),
)
sa.Index(
    "ix_jobs_pending",
    jobs.c.service_id,
    jobs.c.order_key,
    jobs.c.id,
    jobs.c.tenant_id,
    sqlite_where=sa.text("state = 'pending' AND not_before IS NULL"),
    postgresql_where=sa.text("state = 'pending' AND not_before IS NULL"),
)
sa.Index(
    "ix_jobs_delayed",
    jobs.c.not_before,
    sqlite_where=sa.text("state = 'pending' AND not_before IS NOT NULL"),
    postgresql_where=sa.text("state = 'pending' AND not_before IS NOT NULL"),
)
sa.Index(
    "ix_jobs_deadline",
    jobs.c.deadline,
    sqlite_where=sa.text("state = 'pending' AND deadline IS NOT NULL"),
    postgresql_where=sa.text("state = 'pending' AND deadline IS NOT NULL"),
)
sa.Index(
    "ix_jobs_running",
    jobs.c.instance_id,
    sqlite_where=sa.text("state = 'running'"),
    postgresql_where=sa.text("state = 'running'"),
)
sa.Index("ix_jobs_service_id", jobs.c.service_id, jobs.c.id)
sa.Index("ix_jobs_tenant_id", jobs.c.tenant_id, jobs.c.id)
sa.Index(
    "ix_jobs_completed_at",
    jobs.c.completed_at,
    sqlite_where=sa.text("completed_at IS NOT NULL"),
    postgresql_where=sa.text("completed_at IS NOT NULL"),
)

payloads = sa.Table(
    "payloads",
    metadata,
    sa.Column("job_id", ID, primary_key=True),
    sa.Column("body", sa.LargeBinary, nullable=False),
)

results = sa.Table(
    "results",
    metadata,
    sa.Column("job_id", ID, primary_key=True),
    sa.Column("body", sa.LargeBinary, nullable=False),
)

attempts = sa.Table(
    "attempts",
    metadata,
    sa.Column("job_id", ID, primary_key=True),
    sa.Column("generation", sa.Integer, primary_key=True),
    sa.Column("attempt", sa.Integer, primary_key=True),
    sa.Column("instance_id", ID),
    _text("worker", null=True),
    _time("claimed_at", null=True),
    _time("started_at", null=True),
    _time("ended_at"),
    _text("outcome"),
    sa.Column("batch_size", sa.Integer),
    _text("error_code", null=True),
    _text("error_message", null=True),
)

submissions = sa.Table(
    "submissions",
    metadata,
    sa.Column("tenant_id", sa.String(64), primary_key=True),
    sa.Column("idem_key", sa.String(255), primary_key=True),
    sa.Column("body_hash", sa.LargeBinary, nullable=False),
    _text("job_ids"),
    _time("created_at"),
    sa.Index(None, "created_at"),
)
