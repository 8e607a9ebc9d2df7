"""Commands that become a process of the system: this process is replaced, signals and exit code are its own."""

import os
import sys
from collections.abc import Mapping, Sequence
from typing import NoReturn

import click

from api.cli.target import KEY_VARIABLE, URL_VARIABLE
from inference import lifeline


def become(command: Sequence[str], *, role: str | None = None, environ: Mapping[str, str] | None = None) -> NoReturn:
    """Replaces this process by a module of our own, run by the same Python; `environ` is added to its environment.

    Neither it nor what it starts leaves a core dump.
    """
    values = {name: value for name, value in os.environ.items() if name not in (URL_VARIABLE, KEY_VARIABLE)}
    values.update(environ or {})
    if role:
        values["PENSTOCK_ROLE"] = role
    sys.stdout.flush()
    sys.stderr.flush()
    lifeline.leave_no_core()
    os.execve(sys.executable, [sys.executable, *command], values)  # noqa: S606 - a fixed argument list


_data_dir = click.option("--data-dir", default=None, help="Data folder (default: PENSTOCK_DATA_DIR or .penstock).")


@click.command()
@click.option("--host", default=None, help="Public address (default 127.0.0.1).")
@click.option("--port", default=None, type=int, help="Public port (default 8080); 0 takes a free one.")
@_data_dir
@click.option("--flower", is_flag=True, help="Start Flower, the view of Celery's tasks.")
def up(host: str | None, port: int | None, data_dir: str | None, flower: bool) -> None:
    """Start the whole system here, until Ctrl-C."""
    options = {"--host": host, "--port": port, "--data-dir": data_dir}
    given = [part for name, value in options.items() if value is not None for part in (name, str(value))]
    become(["-m", "workers.launch", "up", *given, *(["--flower"] if flower else [])])


@click.command()
@_data_dir
@click.option("--json", "is_json", is_flag=True, help="Print one JSON object on stdout, nothing else.")
def status(data_dir: str | None, is_json: bool) -> None:
    """List the processes of a running `up`."""
    given = ["--data-dir", data_dir] if data_dir else []
    become(["-m", "workers.launch", "status", *given, *(["--json"] if is_json else [])])


@click.command()
@click.option("--host", default=None, help="Address to bind (default: PENSTOCK_API__HOST or 127.0.0.1).")
@click.option("--port", default=None, type=int, help="Port to bind (default: PENSTOCK_API__PORT or 8080).")
@click.option("--workers", default=None, type=int, help="Processes (default: PENSTOCK_API__WORKERS or 1).")
@click.option("--threads", default=None, type=int, help="Threads each (default: PENSTOCK_API__THREADS or 16).")
def api(host: str | None, port: int | None, workers: int | None, threads: int | None) -> None:
    """Run the HTTP API alone, without a front."""
    settings = {"PENSTOCK_API__WORKERS": workers, "PENSTOCK_API__THREADS": threads}
    options = {"--host": host, "--port": port}
    given = [part for name, value in options.items() if value is not None for part in (name, str(value))]
    environ = {name: str(value) for name, value in settings.items() if value is not None}
    become(["-m", "workers.http_host", *given], role="api", environ=environ)


def _role(name: str, module: str, text: str, *, role: str | None = None) -> click.Command:
    def start(arguments: tuple[str, ...]) -> None:
        become(["-m", module, *arguments], role=role or name)

    return click.Command(
        name,
        callback=start,
        params=[click.Argument(["arguments"], nargs=-1, type=click.UNPROCESSED)],
        help=f"{text} Its settings come from the environment (PENSTOCK_...).",
        context_settings={"ignore_unknown_options": True},
    )


ROLES = (
    api,
    _role("live", "api.live.server", "Run the process that waits for clients: long polls."),
    _role("node", "workers.node", "Run this machine's agent, which starts workers."),
    _role("worker", "workers.node", "The same as node.", role="node"),
    _role("control", "workers.control", "Run the control worker: replicas, retries, recovery."),
    _role("beat", "workers.beat", "Run Celery beat: the slow periodic jobs."),
)


@click.command()
def migrate() -> None:
    """Bring the database to the newest schema; in production, make the first key if there is none."""
    become(["-m", "workers.prepare"])


@click.command(context_settings={"ignore_unknown_options": True})
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def test(arguments: tuple[str, ...]) -> None:
    """Set up and run the tests: `./penstock test` in a checkout."""
    raise click.UsageError("The tests live in the repository: run `./penstock test` at its root.")


@click.command(context_settings={"ignore_unknown_options": True})
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def bench(arguments: tuple[str, ...]) -> None:
    """Measure: `./penstock bench jobs` in a checkout."""
    raise click.UsageError("The benchmarks live in the repository: run `./penstock bench jobs` at its root.")
