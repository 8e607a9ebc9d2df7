"""Every table. `jobs` is narrow: what is large or rarely read lies in write-once side tables.

Times are epoch seconds; JSON is text, written and read by our own code.
"""

import sqlalchemy as sa

from inference.store.columns import ID, id_column, integer, metadata, tenant, text, time
from inference.store.tables_access import (
    access_epoch,
    api_keys,
    audit,
    audit_head,
    outbox,
    tenants,
    usage,
    webhook_secrets,
)
from inference.store.tables_alerts import alert_orders, alert_rules, alert_silences, alerts
from inference.store.tables_backups import backups
from inference.store.tables_cache import result_cache
from inference.store.tables_costs import budgets, cost_days, cost_instances, prices
from inference.store.tables_logs import log_counts, log_entries
from inference.store.tables_reports import report_contents, report_schedules, reports
from inference.store.tables_resources import devices, leases
from inference.store.tables_scaling import scaling, scaling_decisions
from inference.store.tables_series import series

__all__ = [
    "access_epoch",
    "alert_orders",
    "alert_rules",
    "alert_silences",
    "alerts",
    "api_keys",
    "attempts",
    "audit",
    "audit_head",
    "backups",
    "budgets",
    "cost_days",
    "cost_instances",
    "deployments",
    "devices",
    "instances",
    "jobs",
    "leases",
    "log_counts",
    "log_entries",
    "metadata",
    "models",
    "nodes",
    "outbox",
    "payloads",
    "prices",
    "profiles",
    "replicas",
    "report_contents",
    "report_schedules",
    "reports",
    "result_cache",
    "results",
    "scaling",
    "scaling_decisions",
    "series",
    "service_events",
    "services",
    "submissions",
    "tenants",
    "ticks",
    "uploads",
    "usage",
    "webhook_secrets",
]

models = sa.Table(
    "models",
    metadata,
    id_column(),
    tenant(),
    text("name"),
    text("version"),
    text("framework"),
    text("state"),
    text("sha256"),
    sa.Column("size_bytes", sa.BigInteger, nullable=False),
    text("golden"),
    text("signature"),
    text("hooks"),
    text("metadata"),
    text("accuracy_metrics"),
    text("deployment_config"),
    time("created_at"),
    sa.Column("runs_code", sa.Boolean, nullable=False, server_default=sa.false()),
    sa.Column("key_id", sa.String(16)),
    text("estimate", null=True),
    sa.UniqueConstraint("tenant_id", "name", "version"),
)

uploads = sa.Table(
    "uploads",
    metadata,
    id_column(),
    tenant(),
    text("sha256"),
    sa.Column("size_bytes", sa.BigInteger, nullable=False),
    time("created_at"),
    sa.Column("key_id", sa.String(16)),
    time("expires_at", null=True),
    sa.Index(None, "sha256"),
    sa.Index(None, "tenant_id", "id"),
)
sa.Index(
    "ix_uploads_expires_at",
    uploads.c.expires_at,
    sqlite_where=sa.text("expires_at IS NOT NULL"),
    postgresql_where=sa.text("expires_at IS NOT NULL"),
)

deployments = sa.Table(
    "deployments",
    metadata,
    id_column(),
    tenant(),
    sa.Column("model_id", ID, nullable=False),
    sa.Column("service_id", ID, nullable=False),
    text("environment"),
    text("config"),
    time("created_at"),
    sa.Index(None, "tenant_id", "created_at"),
)

services = sa.Table(
    "services",
    metadata,
    id_column(),
    tenant(),
    text("name"),
    sa.Column("model_id", ID, nullable=False),
    text("state"),
    text("config"),
    sa.Column("queue_while_stopped", sa.Boolean, nullable=False),
    integer("revision"),
    time("created_at"),
    time("updated_at"),
    time("started_at", null=True),
    time("stopped_at", null=True),
    time("scaled_at", null=True),
    text("reason", null=True),
    text("suggested_action", null=True),
    sa.Column("workspace", sa.String(64), nullable=False, server_default=""),
    sa.Column("target_replicas", sa.Integer),
    sa.Column("target_instances", sa.Integer),
    text("target_reason", null=True),
    sa.UniqueConstraint("tenant_id", "name"),
)

service_events = sa.Table(
    "service_events",
    metadata,
    id_column(),
    sa.Column("service_id", ID, nullable=False),
    time("at"),
    text("from_state"),
    text("to_state"),
    text("reason"),
    sa.Index(None, "service_id", "id"),
)

replicas = sa.Table(
    "replicas",
    metadata,
    id_column(),
    sa.Column("service_id", ID, nullable=False, index=True),
    integer("ordinal"),
    sa.Column("node_id", sa.String(128), nullable=False, index=True),
    text("device"),
    text("desired"),
    text("observed"),
    integer("generation"),
    integer("revision"),
    integer("instances"),
    integer("instances_ready"),
    integer("load_failures"),
    integer("restarts"),
    sa.Column("pid", sa.Integer),
    text("reason", null=True),
    time("reported_at"),
    text("usage", null=True),
    time("began_at", null=True),
    time("ready_at", null=True),
    time("busy_at", null=True),
    sa.UniqueConstraint("service_id", "ordinal"),
)

nodes = sa.Table(
    "nodes",
    metadata,
    sa.Column("id", sa.String(128), primary_key=True),
    text("host"),
    text("inventory"),
    time("heartbeat_at"),
)

instances = sa.Table(
    "instances",
    metadata,
    id_column(),
    sa.Column("service_id", ID, nullable=False, index=True),
    sa.Column("replica_id", ID, nullable=False, index=True),
    integer("slot"),
    integer("replica_generation"),
    integer("generation"),
    sa.Column("pid", sa.Integer, nullable=False),
    time("lease_until"),
    time("opened_at"),
)

profiles = sa.Table(
    "profiles",
    metadata,
    sa.Column("model_id", ID, primary_key=True),
    sa.Column("device_kind", sa.String(128), primary_key=True),
    text("provider"),
    integer("max_batch"),
    text("curve"),
    time("measured_at"),
    sa.Column("memory_bytes", sa.BigInteger),
    text("memory_basis", null=True),
)

ticks = sa.Table(
    "ticks",
    metadata,
    sa.Column("name", sa.String(64), primary_key=True),
    time("taken_at"),
    text("taken_by"),
    sa.Column("count", sa.BigInteger, nullable=False),
)

jobs = sa.Table(
    "jobs",
    metadata,
    id_column(),
    tenant(),
    sa.Column("service_id", ID, nullable=False),
    sa.Column("state", sa.String(12), nullable=False),
    sa.Column("priority", sa.SmallInteger, nullable=False),
    time("order_key"),
    time("submitted_at"),
    time("not_before", null=True),
    time("deadline", null=True),
    time("timeout_s"),
    sa.Column("bucket", sa.Text, nullable=False),
    integer("rows"),
    integer("generation", 1),
    integer("attempt", 0),
    integer("max_attempts"),
    integer("crashes", 0),
    integer("batch_cap", 0),
    sa.Column("instance_id", ID),
    sa.Column("instance_generation", sa.Integer),
    time("claimed_at", null=True),
    time("started_at", null=True),
    time("completed_at", null=True),
    time("cancel_requested_at", null=True),
    sa.Column("batch_size", sa.Integer),
    text("model_version", null=True),
    text("worker", null=True),
    text("error_code", null=True),
    text("error_message", null=True),
    text("callback_url", null=True),
    text("metadata", null=True),
    sa.Column("key_id", sa.String(16)),
    sa.Column("callback_events", sa.SmallInteger, nullable=False, server_default=sa.text("1")),
    sa.Column("asked_service_id", ID),
    sa.Column("input_key", sa.String(64)),
)
sa.Index(
    "ix_jobs_input_key",
    jobs.c.input_key,
    sqlite_where=sa.text("state = 'pending' AND input_key IS NOT NULL"),
    postgresql_where=sa.text("state = 'pending' AND input_key IS NOT NULL"),
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
for _name, _column in (("ix_jobs_service_bad", jobs.c.service_id), ("ix_jobs_tenant_bad", jobs.c.tenant_id)):
    sa.Index(
        _name,
        _column,
        jobs.c.id,
        sqlite_where=sa.text("completed_at IS NOT NULL AND state <> 'completed'"),
        postgresql_where=sa.text("completed_at IS NOT NULL AND state <> 'completed'"),
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

# Of a large result `body` is empty, and `sha256` names the blob that has it.
results = sa.Table(
    "results",
    metadata,
    sa.Column("job_id", ID, primary_key=True),
    sa.Column("body", sa.LargeBinary, nullable=False),
    sa.Column("sha256", sa.String(64)),
    sa.Column("size_bytes", sa.BigInteger),
)
sa.Index(
    "ix_results_sha256",
    results.c.sha256,
    sqlite_where=sa.text("sha256 IS NOT NULL"),
    postgresql_where=sa.text("sha256 IS NOT NULL"),
)

attempts = sa.Table(
    "attempts",
    metadata,
    sa.Column("job_id", ID, primary_key=True),
    sa.Column("generation", sa.Integer, primary_key=True),
    sa.Column("attempt", sa.Integer, primary_key=True),
    sa.Column("instance_id", ID),
    text("worker", null=True),
    time("claimed_at", null=True),
    time("started_at", null=True),
    time("ended_at"),
    text("outcome"),
    sa.Column("batch_size", sa.Integer),
    text("error_code", null=True),
    text("error_message", null=True),
)

submissions = sa.Table(
    "submissions",
    metadata,
    sa.Column("tenant_id", sa.String(64), primary_key=True),
    sa.Column("idem_key", sa.String(255), primary_key=True),
    sa.Column("body_hash", sa.LargeBinary, nullable=False),
    text("job_ids"),
    time("created_at"),
    sa.Index(None, "created_at"),
)
