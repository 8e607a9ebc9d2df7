"""Names that travel through the broker: queues and tasks."""

CONTROL_QUEUE = "control"
DRAIN_TASK = "penstock.drain"
RECONCILE_TASK = "penstock.reconcile"
AUTOSCALE_TASK = "penstock.autoscale"
RECLAIM_TASK = "penstock.idle_reclaim"
REPORTS_TASK = "penstock.reports"
RETENTION_TASK = "penstock.retention"
BACKUP_TASK = "penstock.backup"


def service_queue(service_id: str) -> str:
    """Where the doorbells of a service go."""
    return f"svc.{service_id}"
