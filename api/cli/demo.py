"""`penstock demo`: the real system, a real model, a few hundred real images, and what came of it."""

import contextlib
import os
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import FrameType
from typing import Any

import click

from api.cli import demo_digits, demo_load, demo_report, output, target
from api.cli.asking import HINTS
from api.cli.client import Client
from api.cli.demo_system import System
from api.cli.failure import CallFailed
from api.cli.output import say

SERVICE_LIMIT_S = 120.0


def run(*, is_kept: bool, data_dir: str | None, port: int, is_json: bool) -> int:
    """The exit code: 0 when every job completed and the system ended cleanly. Ctrl-C stops everything."""
    signal.signal(signal.SIGTERM, _interrupt)
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell starts `demo &` with it ignored
    is_temporary = data_dir is None
    folder = Path(tempfile.mkdtemp(prefix="penstock-demo-")) if data_dir is None else Path(data_dir).absolute()
    system = System(folder, port=port, is_kept=is_kept, has_flower=is_kept)
    is_left_running = False
    try:
        shown = _show(system, is_json=is_json, environ=_environ(is_temporary=is_temporary))
        is_left_running = is_kept
        if is_kept:
            shown |= {"urls": system.urls(), "data_dir": str(folder), "pid": system.pid}
        else:
            say("Stopping everything ...")
            shown["exit_code"] = system.stop()
        output.answer(shown, is_json=is_json, show=demo_report.draw_end)
        return 0 if is_kept or shown["exit_code"] == 0 else 1
    except CallFailed as failure:
        _tell(failure, is_json=is_json)
        return 1
    except KeyboardInterrupt:
        say("\nStopping everything ...")
        return 130
    finally:
        if not is_left_running:
            system.stop()
            if is_temporary:
                shutil.rmtree(folder, ignore_errors=True)


def _environ(*, is_temporary: bool) -> Mapping[str, str]:
    """Where a key is looked for: one for another system opens nothing on a fresh one."""
    is_fresh = is_temporary and "PENSTOCK_DATABASE_URL" not in os.environ
    return {} if is_fresh else os.environ


def _show(system: System, *, is_json: bool, environ: Mapping[str, str]) -> dict[str, Any]:
    """Starts, registers, submits, reads; draws the tables for people. The figures."""
    digits = demo_digits.load()
    say(f"Starting Penstock in {system.data_dir} ...")
    began = time.monotonic()
    url = system.start()
    say(f"  ready at {url} after {time.monotonic() - began:.1f} s")
    with Client(url, key=target.find_key(url, system.data_dir, environ)) as client:
        model_id = _register(client, digits)
        service_id = _serve(client, model_id, digits.name)
        setup_s = time.monotonic() - began
        say(f"  the service runs after {setup_s:.1f} s; submitting {len(digits.pictures)} images it was not trained on")
        with _progress(len(digits.pictures)) as (on_submitted, on_answered):
            answers = demo_load.run(
                client, service_id, digits.pictures, on_submitted=on_submitted, on_answered=on_answered
            )
    figures = demo_report.figures(answers, model=f"{digits.name} {digits.version}", setup_s=setup_s)
    if not is_json:
        demo_report.draw(answers, figures)
    return figures


def _register(client: Client, digits: demo_digits.Digits) -> str:
    """The model's id; the one that is there when the folder has seen a demo before."""
    say(f"Registering {digits.name} {digits.version} ({digits.registration['model_path']}) ...")
    try:
        file = client.upload(Path(digits.registration["model_path"]))[
            "upload_id"
        ]  # a path needs leave once keys are used
        return str(client.register_model({**digits.registration, "model_path": f"upload:{file}"})["model_id"])
    except CallFailed as failure:
        if failure.code != "version_exists":
            raise
    for row in output.rows_of(client.models(name=digits.name), "models"):
        if row.get("version") == digits.version:
            return str(row["model_id"])
    raise CallFailed(f"{digits.name} {digits.version} is registered, yet not listed.", code="model_not_found")


def _serve(client: Client, model_id: str, name: str) -> str:
    """Creates a service and waits until it runs. Raises CallFailed with its reason when it does not."""
    say("Creating and starting a service ...")
    service_id = str(client.create_service({"model_id": model_id, "config": {"replicas": 1}})["service_id"])
    client.move_service(service_id, "start")
    until = time.monotonic() + SERVICE_LIMIT_S
    while True:
        service = client.service(service_id)
        if service["status"] == "running":
            return service_id
        if service["status"] == "error" or time.monotonic() > until:
            reason = service.get("reason") or "no reason was given"
            raise CallFailed(f"The service for {name} is {service['status']}: {reason}.", code="service_error")
        time.sleep(0.05)


@contextlib.contextmanager
def _progress(total: int) -> Iterator[tuple[Any, Any]]:
    """Two bars on stderr: submitted and answered. Without a terminal, two lines."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (TextColumn("  {task.description:9}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=output.console(to_stderr=True)) as bars:
        submitted = bars.add_task("submitted", total=total)
        answered = bars.add_task("answered", total=total)
        yield (lambda count: bars.advance(submitted, count)), (lambda count: bars.advance(answered, count))


def _tell(failure: CallFailed, *, is_json: bool) -> None:
    if is_json:
        body = {"code": failure.code, "message": failure.message, "details": failure.details}
        output.answer(body, is_json=True, show=output.fields)
    click.secho(f"{failure.message} ({failure.code})", fg="red", err=True)
    if failure.code == "unauthenticated":
        say(HINTS[failure.code])
    for name, value in failure.details.items():
        say(f"  {name}: {value}")


def _interrupt(number: int, _frame: FrameType | None) -> None:
    signal.signal(number, signal.SIG_IGN)
    sys.stdout.flush()
    raise KeyboardInterrupt
