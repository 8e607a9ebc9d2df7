"""What is ordered is carried out: told, tried again, and done no more often than is good."""

import dataclasses
import json

import pytest
from standardwebhooks.webhooks import Webhook
from structlog.testing import capture_logs

from inference.access.model import Scope
from inference.alerts.act import Performer
from inference.alerts.model import Action, ActionKind, Alert, Event, Metric, Order, OrderState, Phase, Severity
from inference.ids import DEFAULT_TENANT, new_id
from inference.notify.model import Answer
from inference.serving.model import AutoScaling, ServiceState
from tests import fakes

HOOK = Action(kind=ActionKind.WEBHOOK, url="https://hook.example/x")
SCALE = Action(kind=ActionKind.SCALE, by=2, max_replicas=4, cooldown_s=600.0)
RESTART = Action(kind=ActionKind.RESTART, cooldown_s=600.0)


class Sent:
    """`Post` and `Mail` that answer what a test wants."""

    def __init__(self):
        self.posts, self.mails, self.answer = [], [], Answer(status=200)

    def post(self, url, *, body, headers):
        self.posts.append((url, body, headers))
        return self.answer

    def mail(self, *, to, subject, text, message_id):
        self.mails.append((to, subject, text, message_id))
        return self.answer


@pytest.fixture
def core():
    return fakes.make_core()


@pytest.fixture
def sent():
    return Sent()


@pytest.fixture
def perform(core, sent):
    performer = Performer(core.alerts, by="me", post=sent.post, mail=sent.mail)

    def turn():
        performer.turn()
        performer.settle()

    yield turn
    performer.close()


def give(core, action, *, service=None, event=Event.FIRED, phase=Phase.FIRING):
    alert = Alert(
        id=new_id(), rule_id=new_id(), tenant_id=DEFAULT_TENANT, service_id="" if service is None else service.id,
        name="slow", metric=Metric.LATENCY, severity=Severity.WARNING, threshold=0.2, phase=phase, began_at=900.0,
        value=0.7, fired_at=960.0, resolved_at=None if phase is Phase.FIRING else 990.0,
    )  # fmt: skip
    order = Order(
        id=new_id(), alert_id=alert.id, rule_id=alert.rule_id, tenant_id=alert.tenant_id,
        service_id=alert.service_id, event=event, action=action,
    )  # fmt: skip
    core.alerts.alerts.rows[alert.id], core.alerts.alerts.orders[order.id] = alert, order
    return order.id


def test_a_webhook_is_signed_and_says_what_and_what_to_do(core, sent, perform):
    service = fakes.add_service(core)
    order_id = give(core, HOOK, service=service)

    perform()

    ((url, body, headers),) = sent.posts
    told = json.loads(body)
    assert (url, headers["webhook-id"]) == (HOOK.url, order_id)
    assert (told["type"], told["data"]["service"], told["data"]["value"]) == ("alert.fired", service.name, 0.7)
    assert "0.7 s" in told["data"]["texts"]["en"]["summary"]
    assert service.id in told["data"]["texts"]["zh"]["suggested_action"]
    (secret,) = core.notify.secrets.in_force(DEFAULT_TENANT)
    assert headers["webhook-signature"].startswith("v1,")
    assert Webhook(secret).sign(order_id, _at(headers), body.decode()) == headers["webhook-signature"]


def _at(headers):
    from datetime import UTC, datetime

    return datetime.fromtimestamp(int(headers["webhook-timestamp"]), UTC)


def test_what_fails_is_tried_again_under_the_same_id_and_shown(core, sent, perform):
    order_id = give(core, HOOK)
    sent.answer = Answer(status=503, error="The receiver answered 503.")

    perform()
    perform()
    failed = core.alerts.alerts.orders[order_id]
    core.alerts.alerts.now += 10.0
    sent.answer = Answer(status=200)
    perform()

    assert (failed.state, failed.attempts, failed.note) == (OrderState.PENDING, 1, "The receiver answered 503.")
    assert core.alerts.alerts.orders[order_id].state is OrderState.DONE
    assert [headers["webhook-id"] for _, _, headers in sent.posts] == [order_id, order_id]


def test_what_is_hopeless_is_given_up(core, sent, perform):
    order_id = give(core, Action(kind=ActionKind.EMAIL, to=("a@b.example",)))
    sent.answer = Answer(error="no such mailbox", is_hopeless=True)

    perform()

    assert core.alerts.alerts.orders[order_id].state is OrderState.GIVEN_UP
    ((to, subject, text, message_id),) = sent.mails
    assert (to, message_id) == (("a@b.example",), order_id)
    assert subject.startswith("[warning] slow")
    assert "What to do" in text


def test_the_first_notice_tells_of_the_firing_though_it_is_over_by_now(core, sent, perform):
    give(core, HOOK, phase=Phase.RESOLVED)
    give(core, HOOK, event=Event.RESOLVED, phase=Phase.RESOLVED)

    perform()

    told = sorted((json.loads(body)["type"], json.loads(body)["data"]["resolved_at"]) for _, body, _ in sent.posts)
    assert told == [("alert.fired", None), ("alert.resolved", "1970-01-01T00:16:30.000000Z")]


def test_a_log_entry_is_one_of_the_service(core, perform):
    service = fakes.add_service(core)
    give(core, Action(kind=ActionKind.LOG), service=service)

    with capture_logs() as logs:
        perform()

    (entry,) = (one for one in logs if one["event"] == "alert_fired")
    assert (entry["service_id"], entry["log_level"], entry["rule"]) == (service.id, "warning", "slow")


def test_scale_adds_replicas_up_to_its_limit_and_not_again_before_the_cool_down_is_over(core, perform):
    service = fakes.add_service(core, replicas=3)
    size = lambda: core.serving.services.rows[service.id].config.replicas  # noqa: E731

    give(core, SCALE, service=service)
    perform()
    first = size()
    core.serving.services.rows[service.id] = service
    too_soon = give(core, SCALE, service=service)
    perform()

    assert (first, size()) == (4, 3)
    assert core.alerts.alerts.orders[too_soon].state is OrderState.SKIPPED
    assert "cool-down" in core.alerts.alerts.orders[too_soon].note


@pytest.mark.parametrize(
    ("action", "state", "config", "word"),
    [
        (SCALE, ServiceState.RUNNING, {"replicas": 4}, "already"),
        (SCALE, ServiceState.RUNNING, {"auto_scaling": AutoScaling(enabled=True)}, "autoscaler"),
        (SCALE, ServiceState.STOPPED, {}, "stopped"),
        (RESTART, ServiceState.STOPPED, {}, "a person"),
    ],
)
def test_nothing_is_done_where_it_is_not_wanted(core, perform, action, state, config, word):
    service = fakes.add_service(core, state=state, **config)
    order_id = give(core, action, service=service)

    perform()

    order = core.alerts.alerts.orders[order_id]
    assert (order.state, word in order.note) == (OrderState.SKIPPED, True)
    assert core.serving.services.rows[service.id] == service


def test_restart_replaces_the_replicas_once(core, perform):
    service = fakes.add_service(core)

    give(core, RESTART, service=service)
    perform()
    give(core, RESTART, service=service)
    perform()

    now = core.serving.services.get(Scope(DEFAULT_TENANT), service.id)
    assert now.revision == service.revision + 1
    assert dataclasses.replace(now, revision=1, updated_at=service.updated_at) == service
