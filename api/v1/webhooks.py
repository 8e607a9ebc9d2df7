"""Webhooks: what was sent of a task, sending it again, and the secret they are signed with."""

from typing import Any

from api import context
from api.blueprint import Blueprint
from api.documented import READING, refuses
from api.schemas import webhooks as schemas
from api.schemas.common import EmptyIn
from inference import errors
from inference.access.model import Reach, Role
from inference.jobs import query
from inference.notify import sign

blueprint = Blueprint("webhooks", __name__, description="Be told of the end of a task")

Json = dict[str, Any]


@blueprint.route("/tasks/<task_id>/webhooks", needs=Role.VIEWER)
@refuses(errors.JobNotFound)
@blueprint.response(200, schemas.Deliveries())
def list_webhooks(task_id: str) -> Json:
    """List the webhooks of a task, oldest first, each with what became of it"""
    _see(task_id)
    found = context.core().notify.outbox.of_job(context.tenant_id(), task_id)
    return {"webhooks": [schemas.shown(one) for one in found]}


@blueprint.route("/tasks/<task_id>/webhooks/resend", methods=["POST"], needs=Role.SUBMITTER)
@blueprint.arguments(EmptyIn(), required=False)
@refuses(*READING, errors.JobNotFound)
@blueprint.response(200, schemas.Resent())
def resend_webhooks(_: Json, task_id: str) -> Json:
    """Send the webhooks of a task again, with the same ids; those that are under way already are left alone"""
    _see(task_id)
    outbox, tenant_id = context.core().notify.outbox, context.tenant_id()
    return {"resent": [one.id for one in outbox.of_job(tenant_id, task_id) if outbox.resend(tenant_id, one.id)]}


def _see(task_id: str) -> None:
    context.known_form(task_id, errors.JobNotFound, "task")
    query.get(context.core().jobs, scope=context.scope(), job_id=task_id)


@blueprint.route("/webhooks/secret", needs=Role.ADMIN, reach=Reach.TENANT)
@blueprint.response(200, schemas.Secrets())
def show_secret() -> Json:
    """Show the secrets that webhooks are signed with, newest first; made at the first look"""
    return {"secrets": list(context.core().notify.secrets.in_force(context.tenant_id()))}


@blueprint.route("/webhooks/secret/rotate", methods=["POST"], needs=Role.ADMIN, reach=Reach.TENANT)
@blueprint.arguments(schemas.SecretRotateIn(), required=False)
@refuses(*READING)
@blueprint.response(200, schemas.Secrets())
def rotate_secret(wanted: Json) -> Json:
    """Sign with a new secret; the one before it signs beside it until the overlap is over"""
    secrets, tenant_id = context.core().notify.secrets, context.tenant_id()
    secret = sign.check_secret(wanted["secret"]) if wanted["secret"] is not None else sign.new_secret()
    secrets.rotate(tenant_id, secret, overlap_s=wanted["overlap_s"])
    return {"secrets": list(secrets.in_force(tenant_id))}
