"""The `penstock` command. Heavy imports wait until a command needs them, so that --help is instant."""

import click

from api.cli import (
    alert,
    audit,
    backup,
    compare,
    cost,
    job,
    key,
    logs,
    model,
    nodes,
    pool,
    report,
    roles,
    service,
    tenant,
    upload,
)


class _Named(click.Group):
    """Commands in the order in which a person meets them."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self.commands)


@click.group(cls=_Named, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(package_name="penstock", message="penstock %(version)s")
def cli() -> None:
    """Penstock runs models behind a queue: post a job, get an id, read the answer.

    First steps: `penstock demo` shows the whole system at work; `penstock up` starts it here.
    """


cli.add_command(roles.up)


@cli.command(context_settings={"show_default": True})
@click.option("--keep", is_flag=True, help="Leave the system running and print its URLs.")
@click.option("--data-dir", default=None, help="Data folder; a temporary one by default.")
@click.option("--port", default=0, help="Public port; 0 takes a free one.")
@click.option("--json", "is_json", is_flag=True, help="Print one JSON object on stdout, nothing else.")
def demo(keep: bool, data_dir: str | None, port: int, is_json: bool) -> None:
    """See the whole system at work.

    Starts it for real, classifies handwritten digits with it over HTTP, and prints what happened."""
    from api.cli.demo import run

    raise SystemExit(run(is_kept=keep, data_dir=data_dir, port=port, is_json=is_json))


@cli.command()
@click.option("--data-dir", default=None, envvar="PENSTOCK_DATA_DIR", help="Data folder to look at.")
@click.option("--json", "is_json", is_flag=True, help="Print one JSON object on stdout, nothing else.")
def doctor(data_dir: str | None, is_json: bool) -> None:
    """Check this machine and say what to fix.

    Python, ports, disk, SQL, Redis, engine, GPUs, limits. Exit code 1 when something fails."""
    from api.cli.doctor import run

    raise SystemExit(run(data_dir=data_dir, is_json=is_json))


@cli.command()
@click.option("--data-dir", default=None, envvar="PENSTOCK_DATA_DIR", help="Data folder of that `up`.")
@click.option("--json", "is_json", is_flag=True, help="Print one JSON object on stdout, nothing else.")
def down(data_dir: str | None, is_json: bool) -> None:
    """Stop a running `up`, as Ctrl-C would."""
    from api.cli.down import run

    raise SystemExit(run(data_dir=data_dir, is_json=is_json))


cli.add_command(roles.status)
cli.add_command(model.model)
cli.add_command(service.service)
cli.add_command(job.job)
job.job.add_command(compare.tasks)
cli.add_command(upload.upload)
cli.add_command(upload.uploads)
service.service.add_command(compare.versions)
cli.add_command(nodes.gpus)
cli.add_command(nodes.nodes)
cli.add_command(pool.pool)
cli.add_command(key.key)
cli.add_command(tenant.tenant)
cli.add_command(audit.audit)
cli.add_command(logs.logs)
cli.add_command(cost.costs)
cli.add_command(cost.price)
cli.add_command(cost.budget)
cli.add_command(alert.alert)
cli.add_command(report.report)
cli.add_command(backup.backup)
cli.add_command(backup.backups)
cli.add_command(backup.restore)
for role in roles.ROLES:
    cli.add_command(role)
cli.add_command(roles.migrate)
cli.add_command(roles.test)
cli.add_command(roles.bench)


def main() -> None:
    """The console script. Exit codes: 0 done, 1 the server or the machine says no, 2 wrong usage, 130 Ctrl-C."""
    try:
        code = cli.main(standalone_mode=False)
    except click.ClickException as error:
        error.show()
        raise SystemExit(error.exit_code) from error
    except (click.Abort, KeyboardInterrupt) as error:
        click.echo("Stopped.", err=True)
        raise SystemExit(130) from error
    raise SystemExit(code if isinstance(code, int) else 0)


if __name__ == "__main__":
    main()
