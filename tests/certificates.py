"""Certificates for tests, signed by themselves and made by the openssl command."""

import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from tests.services import Missing


@dataclass(frozen=True, slots=True, kw_only=True)
class Certificate:
    certificate: Path
    key: Path


def make(folder: Path, name: str = "front") -> Certificate:
    """For localhost and 127.0.0.1, with `name` as its subject. Raises Missing without openssl."""
    if shutil.which("openssl") is None:
        raise Missing("openssl is needed to make certificates: apt-get install openssl")
    made = Certificate(certificate=folder / f"{name}.pem", key=folder / f"{name}.key")
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2",
         "-subj", f"/CN={name}", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1",
         "-keyout", str(made.key), "-out", str(made.certificate)],
        check=True,
        capture_output=True,
    )  # fmt: skip
    return made
