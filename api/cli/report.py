"""`penstock report`: reports over a range, and the schedules by which they come by themselves."""

import time
from pathlib import Path
from typing import Any

import click

from api.cli.asking import Call, shared
from api.cli.failure import CallFailed
from api.cli.output import fields, rows_of, say, table

REPORTS = {
    "report_id": "ID",
    "service_id": "SERVICE",
    "status": "STATUS",
    "format": "FORMAT",
    "from": "FROM",
    "to": "TO",
    "size_bytes": "BYTES",
}
SCHEDULES = {
    "schedule_id": "ID",
    "service_id": "SERVICE",
    "every": "EVERY",
    "at": "AT",
    "timezone": "ZONE",
    "format": "FORMAT",
    "mail_to": "MAIL TO",
    "post_to": "POST TO",
    "next_at": "NEXT",
}
LOOK_S = 0.3
FORMATS = click.Choice(["html", "pdf"])
LANGUAGES = click.Choice(["en", "zh"])


@click.group()
def report() -> None:
    """Have reports made, on a service or on all of them, now or every day or week."""


def _wish(command: Any) -> Any:
    """What every report may be given."""
    for option in reversed(
        (
            click.option("--service", default=None, help="On this service, by id or name; on all without it."),
            click.option("--format", "form", type=FORMATS, default="html", show_default=True),
            click.option("--language", type=LANGUAGES, default="en", show_default=True),
            click.option("--timezone", default="UTC", show_default=True, help="In which times are told."),
        )
    ):
        command = option(command)
    return command


@report.command("create")
@_wish
@click.option("--from", "from_", default=None, help="ISO 8601; a day before the end without it.")
@click.option("--to", default=None, help="ISO 8601; now without it.")
@click.option("--out", type=click.Path(dir_okay=False, path_type=Path), default=None, help="Wait, and save it here.")
@click.option("--patience", type=click.FloatRange(1), default=300.0, help="How many seconds to wait.")
@shared
def create(
    call: Call,
    service: str | None,
    form: str,
    language: str,
    timezone: str,
    from_: str | None,
    to: str | None,
    out: Path | None,
    patience: float,
) -> None:
    """Ask for a report; with --out wait for it and save it."""
    if out is not None and not out.parent.is_dir():
        raise CallFailed(f"There is no folder {out.parent}.", code="bad_file")
    body = {"format": form, "language": language, "timezone": timezone, "from": from_, "to": to}
    asked = call.client.reports("POST", f"{_of(call, service)}/reports", body=body)
    if out is None:
        call.answer(asked, fields)
        return
    path = f"/reports/{asked['report_id']}"
    deadline = time.monotonic() + patience
    while (found := call.client.reports("GET", path))["status"] not in ("completed", "failed"):
        if time.monotonic() > deadline:
            raise CallFailed(f"The report {asked['report_id']} is {found['status']} still.", code="not_in_time")
        time.sleep(LOOK_S)
    if found["status"] == "failed":
        raise CallFailed(found["error"]["message"], code=found["error"]["code"])
    _save(call, asked["report_id"], out)
    call.answer(found, lambda _: say(f"{found['summary']}\nSaved in {out}."))


@report.command("list")
@click.option("--service", default=None, help="On this service, by id or name.")
@click.option("--limit", type=click.IntRange(1, 1000), default=100)
@click.option("--cursor", default=None, help="Where the page before ended.")
@shared
def list_reports(call: Call, service: str | None, **asked: Any) -> None:
    """List reports, newest first."""
    body = call.client.reports("GET", f"{_of(call, service)}/reports", **asked)
    call.answer(body, lambda _: table(REPORTS, rows_of(body, "reports"), nothing="No report."))
    if (following := body.get("next")) and not call.is_json:
        say(f"More: --cursor {following}")


@report.command("show")
@click.argument("report_id", metavar="ID")
@shared
def show(call: Call, report_id: str) -> None:
    """Show how the report ID stands."""
    call.answer(call.client.reports("GET", f"/reports/{report_id}"), fields)


@report.command("save")
@click.argument("report_id", metavar="ID")
@click.argument("out", type=click.Path(dir_okay=False, path_type=Path))
@shared
def save(call: Call, report_id: str, out: Path) -> None:
    """Save the completed report ID in a file."""
    size = _save(call, report_id, out)
    call.answer({"report_id": report_id, "file": str(out), "size_bytes": size}, fields)


@report.command("delete")
@click.argument("report_id", metavar="ID")
@shared
def delete(call: Call, report_id: str) -> None:
    """Delete the report ID."""
    call.client.reports("DELETE", f"/reports/{report_id}")
    _gone(call, {"report_id": report_id}, f"The report {report_id} is deleted.")


@report.command("schedule")
@click.argument("every", type=click.Choice(["day", "week"]))
@_wish
@click.option("--at", default="06:00", show_default=True, help="Time of day; weekly ones on Mondays.")
@click.option("--mail-to", multiple=True, help="An address that gets the file. May be repeated.")
@click.option("--post-to", default=None, help="A webhook that gets it, signed.")
@shared
def schedule(
    call: Call, service: str | None, form: str, mail_to: tuple[str, ...], post_to: str | None, **given: Any
) -> None:
    """Have a report EVERY day or week, on the day or the Monday to Sunday before."""
    body = {**given, "format": form, "mail_to": list(mail_to), "post_to": post_to}
    call.answer(call.client.reports("POST", f"{_of(call, service)}/report-schedules", body=body), fields)


@report.command("schedules")
@click.option("--service", default=None, help="On this service, by id or name.")
@shared
def list_schedules(call: Call, service: str | None) -> None:
    """List the schedules."""
    body = call.client.reports("GET", f"{_of(call, service)}/report-schedules")
    rows = [{**one, "mail_to": ", ".join(one["mail_to"])} for one in rows_of(body, "schedules")]
    call.answer(body, lambda _: table(SCHEDULES, rows, nothing="No schedule."))


@report.command("unschedule")
@click.argument("schedule_id", metavar="ID")
@shared
def unschedule(call: Call, schedule_id: str) -> None:
    """Remove the schedule ID; reports that it brought stay."""
    call.client.reports("DELETE", f"/report-schedules/{schedule_id}")
    _gone(call, {"schedule_id": schedule_id}, f"The schedule {schedule_id} is removed.")


def _of(call: Call, service: str | None) -> str:
    return "" if service is None else f"/services/{call.service_id(service)}"


def _save(call: Call, report_id: str, out: Path) -> int:
    """How many bytes. What was in the file before stays until all of the new one is there."""
    draft = out.with_name(f".{out.name}.part")
    try:
        with draft.open("wb") as file:
            size = sum(file.write(piece) for piece in call.client.report_content(report_id))
        draft.replace(out)
    except OSError as error:
        raise CallFailed(f"The file {out} cannot be written: {error.strerror}.", code="bad_file") from error
    finally:
        draft.unlink(missing_ok=True)
    return size


def _gone(call: Call, body: dict[str, Any], sentence: str) -> None:
    if call.is_json:
        call.answer(body)
    else:
        say(sentence)
