"""The final view of a job that ended at an engine's hands."""

from inference.jobs.model import Claimant, JobView, Moved, Outcome


def view_of(outcome: Outcome, change: Moved, by: Claimant) -> JobView:
    """As SQL would show it."""
    job = outcome.job
    return JobView(
        id=job.id,
        service_id=by.service_id,
        state=change.state,
        priority=job.priority,
        attempts=job.attempt,
        generation=job.generation,
        created_at=job.submitted_at,
        started_at=outcome.started_at,
        completed_at=change.completed_at,
        deadline=job.deadline,
        batch_size=outcome.batch_size,
        model_version=by.model_version,
        worker=by.worker,
        error_code=outcome.error_code,
        error_message=outcome.error_message,
        metadata_json=job.metadata_json,
        result=outcome.result if change.state == "completed" and outcome.result_ref is None else None,
        asked_service_id=job.asked_service_id,
        result_ref=outcome.result_ref if change.state == "completed" else None,
    )
