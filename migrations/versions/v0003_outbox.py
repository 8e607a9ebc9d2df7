"""The outbox of webhooks, filled by triggers in the transaction of the move it tells of; and what signs them."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

FINAL = "('completed', 'failed', 'dead', 'cancelled', 'expired')"
COLUMNS = "id, tenant_id, service_id, job_id, generation, event, job_state, url, created_at, due_at, state, attempts"
ENDED = (
    "NEW.id || '.' || NEW.generation || '.finished', NEW.tenant_id, NEW.service_id, NEW.id, NEW.generation, "
    "'finished', NEW.state, NEW.callback_url, NEW.completed_at, NEW.completed_at, 'pending', 0"
)
STARTED = (
    "NEW.id || '.' || NEW.generation || '.started', NEW.tenant_id, NEW.service_id, NEW.id, NEW.generation, "
    "'started', NEW.state, NEW.callback_url, NEW.claimed_at, NEW.claimed_at, 'pending', 0"
)
IS_ENDED = (
    f"NEW.callback_url IS NOT NULL AND NEW.callback_events <> 2 AND NEW.state IN {FINAL} AND OLD.state <> NEW.state"
)
IS_STARTED = (
    "NEW.callback_url IS NOT NULL AND NEW.callback_events >= 2 AND NEW.state = 'running' AND OLD.state <> 'running'"
)


def upgrade() -> None:
    op.add_column("jobs", sa.Column("callback_events", sa.SmallInteger(), nullable=False, server_default=sa.text("1")))
    op.create_table(
        "outbox",
        sa.Column("id", sa.String(length=80), nullable=False),
        sa.Column("tenant_id", sa.String(length=64), nullable=False),
        sa.Column("service_id", sa.String(length=32), nullable=False),
        sa.Column("job_id", sa.String(length=32), nullable=False),
        sa.Column("generation", sa.Integer(), nullable=False),
        sa.Column("event", sa.String(length=16), nullable=False),
        sa.Column("job_state", sa.String(length=12), nullable=False),
        sa.Column("url", sa.Text(), nullable=False),
        sa.Column("created_at", sa.Double(), nullable=False),
        sa.Column("due_at", sa.Double(), nullable=False),
        sa.Column("state", sa.String(length=12), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("leased_by", sa.Text(), nullable=True),
        sa.Column("last_status", sa.Integer(), nullable=True),
        sa.Column("last_error", sa.Text(), nullable=True),
        sa.Column("delivered_at", sa.Double(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_outbox")),
    )
    pending = sa.text("state = 'pending'")
    op.create_index("ix_outbox_due", "outbox", ["due_at"], sqlite_where=pending, postgresql_where=pending)
    op.create_index(op.f("ix_outbox_job_id"), "outbox", ["job_id"])
    op.create_table(
        "webhook_secrets",
        sa.Column("id", sa.String(length=32), nullable=False),
        sa.Column("tenant_id", sa.String(length=64), nullable=False),
        sa.Column("secret", sa.Text(), nullable=False),
        sa.Column("created_at", sa.Double(), nullable=False),
        sa.Column("expires_at", sa.Double(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_webhook_secrets")),
    )
    op.create_index(op.f("ix_webhook_secrets_tenant_id"), "webhook_secrets", ["tenant_id"])
    for name, condition, values in (("ended", IS_ENDED, ENDED), ("started", IS_STARTED, STARTED)):
        if op.get_bind().dialect.name == "sqlite":
            op.execute(
                f"CREATE TRIGGER jobs_{name} AFTER UPDATE OF state ON jobs WHEN {condition} "
                f"BEGIN INSERT OR IGNORE INTO outbox ({COLUMNS}) VALUES ({values}); END"
            )
            continue
        op.execute(
            f"CREATE FUNCTION note_job_{name}() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
            f"INSERT INTO outbox ({COLUMNS}) VALUES ({values}) ON CONFLICT DO NOTHING; RETURN NULL; END $$"
        )
        op.execute(
            f"CREATE TRIGGER jobs_{name} AFTER UPDATE OF state ON jobs FOR EACH ROW WHEN ({condition}) "
            f"EXECUTE FUNCTION note_job_{name}()"
        )


def downgrade() -> None:
    for name in ("ended", "started"):
        if op.get_bind().dialect.name == "sqlite":
            op.execute(f"DROP TRIGGER jobs_{name}")
        else:
            op.execute(f"DROP TRIGGER jobs_{name} ON jobs")
            op.execute(f"DROP FUNCTION note_job_{name}()")
    op.drop_table("webhook_secrets")
    op.drop_table("outbox")
    op.drop_column("jobs", "callback_events")
