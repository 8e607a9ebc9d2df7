"""The rules that ship switched on, for each tenant."""

import hashlib

from inference.alerts.model import Action, ActionKind, Compare, Metric, Rule, Severity
from inference.setting_rooms import AlertsSettings

_COMMON = (
    ("high-error-rate", Metric.ERROR_RATIO, Compare.ABOVE, 0.05, 0.03, 60.0, 60.0, Severity.CRITICAL),
    ("slow", Metric.LATENCY, Compare.ABOVE, 0.2, 0.18, 60.0, 60.0, Severity.WARNING),
    ("slow-p95", Metric.LATENCY_P95, Compare.ABOVE, 0.2, 0.18, 60.0, 60.0, Severity.WARNING),
    ("gpu-idle", Metric.GPU, Compare.BELOW, 0.5, 0.55, 600.0, 900.0, Severity.INFO),
    ("load-failure", Metric.LOAD_FAILURES, Compare.ABOVE, 0.0, None, 60.0, 0.0, Severity.CRITICAL),
    ("low-availability", Metric.AVAILABILITY, Compare.BELOW, 0.999, None, 3600.0, 0.0, Severity.CRITICAL),
    ("old-queue", Metric.QUEUE_AGE, Compare.ABOVE, 300.0, 60.0, 60.0, 60.0, Severity.WARNING),
    ("budget-soft-limit", Metric.BUDGET_USED, Compare.ABOVE, 0.9999, None, 60.0, 0.0, Severity.WARNING),
)
NAMES = frozenset(one[0] for one in _COMMON)


def rules(tenant_id: str, settings: AlertsSettings) -> list[Rule]:
    """Of one tenant, as they ship. They log, and go to the mail address and webhook of the settings, if there are any.

    A window is no longer than the time for which it must be bad, so that one bad moment does not fire a rate.
    """
    actions = [Action(kind=ActionKind.LOG)]
    if settings.smtp_host and (to := addresses(settings.email_to)):
        actions.append(Action(kind=ActionKind.EMAIL, to=to))
    if settings.webhook_url:
        actions.append(Action(kind=ActionKind.WEBHOOK, url=settings.webhook_url))
    return [
        Rule(
            id=id_of(tenant_id, name),
            tenant_id=tenant_id,
            name=name,
            metric=metric,
            compare=compare,
            threshold=threshold,
            resolve_threshold=resolve,
            window_s=window_s,
            for_s=for_s,
            severity=severity,
            actions=tuple(actions),
            is_default=True,
        )
        for name, metric, compare, threshold, resolve, window_s, for_s, severity in _COMMON
    ]


def addresses(text: str) -> tuple[str, ...]:
    """Of a setting: separated by commas."""
    return tuple(part.strip() for part in text.split(",") if part.strip())


def id_of(tenant_id: str, name: str) -> str:
    """The same for everybody who asks, in the form of all our ids: a default has no row until somebody changes it."""
    digest = hashlib.sha256(f"{tenant_id}\n{name}".encode()).hexdigest()
    return f"{digest[:12]}7{digest[13:16]}8{digest[17:32]}"
