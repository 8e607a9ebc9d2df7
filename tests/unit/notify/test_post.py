"""What becomes of a webhook whose receiver cannot even be looked up."""

import threading

import pytest

from inference.notify.post import HttpPost


def test_a_name_server_that_does_not_answer_costs_an_attempt_and_not_a_sender():
    is_over = threading.Event()
    post = HttpPost(timeout_s=0.01, resolve=lambda host, port: [str(is_over.wait(30))])

    answer = post("https://receiver.example/", body=b"{}", headers={})
    is_over.set()

    assert answer.error == "The name cannot be looked up: no answer within 0.01 s"
    assert not answer.is_hopeless


@pytest.mark.parametrize("error", [OSError("no such name"), UnicodeError("label too long")])
def test_a_name_that_cannot_be_looked_up_is_tried_again_later(error):
    def resolve(host, port):
        raise error

    answer = HttpPost(resolve=resolve)("https://receiver.example/", body=b"{}", headers={})

    assert answer.error == f"The name cannot be looked up: {error}"
    assert not answer.is_hopeless
