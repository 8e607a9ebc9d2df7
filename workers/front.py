"""The front alone, for containers: `python -m workers.front --listen 0.0.0.0:8080 --api http://api:8000 --live ...`.

It is the nginx, with the configuration, that `penstock up` starts; here the API and the live process are other hosts.
"""

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import urlsplit

from inference import lifeline
from inference import settings as settings_room
from inference.errors import BadSettings, PenstockError
from workers.launching import folder, front, tls


def main(arguments: Sequence[str]) -> int:
    """Becomes nginx: this process is replaced, signals and exit code are its own."""
    parser = argparse.ArgumentParser(prog="workers.front", description=__doc__)
    parser.add_argument("--listen", default="127.0.0.1:8080", help="address:port")
    parser.add_argument("--api", required=True, help="URL of the API, without a path")
    parser.add_argument("--live", required=True, help="URL of the live process, without a path")
    parser.add_argument("--flower", help="URL of Flower, without a path; it must run with --url_prefix=flower")
    asked = parser.parse_args(arguments)
    settings = settings_room.load(os.environ)
    has_tls = tls.check(settings.front)
    config = front.render(
        listen=asked.listen,
        body_limit_bytes=settings.api.body_limit_bytes,
        streams=settings.api.workers * settings.api.threads // 2,
        api=address(asked.api),
        live=address(asked.live),
        flower=address(asked.flower) if asked.flower else "",
        flower_login=settings.front.flower_login,
        dns=name_server(Path("/etc/resolv.conf").read_text()),
        has_tls=has_tls,
        trusted_proxies=front.networks(settings.front.trusted_proxies),
    )
    lifeline.leave_no_core()
    folder.prepare(settings.data_dir)
    if has_tls:
        tls.place(settings.front, settings.data_dir)
    folder.write_text(settings.data_dir / "run" / "nginx.conf", config)
    os.chdir(settings.data_dir)
    nginx = str(front.binary())
    os.execv(nginx, [nginx, "-p", "./", "-c", "run/nginx.conf", "-e", "stderr"])  # noqa: S606


def address(url: str) -> str:
    """`host:port` of a plain `http://` URL. Raises BadSettings for anything else."""
    parts = urlsplit(url)
    if parts.scheme != "http" or not parts.hostname or parts.path not in ("", "/"):
        raise BadSettings(f"{url} is not of the form http://host:port.", url=url)
    return f"{parts.hostname}:{parts.port or 80}"


def name_server(resolv_conf: str) -> str:
    """The first name server of a resolv.conf, as nginx writes it; empty when there is none."""
    for line in resolv_conf.splitlines():
        words = line.split()
        if len(words) >= 2 and words[0] == "nameserver":
            return f"[{words[1]}]" if ":" in words[1] else words[1]
    return ""


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except PenstockError as error:
        sys.exit(f"penstock: {error.message}")
