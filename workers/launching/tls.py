"""The certificate of the front: looked at before anything is started, and put where nginx finds it."""

import contextlib
import ssl
from pathlib import Path
from typing import NoReturn

from inference.errors import BadSettings
from inference.settings import FrontSettings

_FOLDER = Path("run", "tls")
_CERTIFICATE, _KEY = "PENSTOCK_FRONT__CERTIFICATE", "PENSTOCK_FRONT__CERTIFICATE_KEY"


def check(wanted: FrontSettings) -> bool:
    """Whether the front speaks HTTPS. Raises BadSettings, naming the file, when it could not with these files."""
    if not wanted.certificate and not wanted.certificate_key:
        return False
    for name, other, path in ((_CERTIFICATE, _KEY, wanted.certificate), (_KEY, _CERTIFICATE, wanted.certificate_key)):
        if not path:
            _refuse(name, f"is missing; {other} is of no use without it.")
        _read(name, Path(path))
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    try:
        context.load_cert_chain(wanted.certificate, wanted.certificate_key, password=_no_password)
    except ssl.SSLError as error:
        if error.reason == "KEY_VALUES_MISMATCH":
            _refuse(_KEY, f"names {wanted.certificate_key}, which is not the key of {wanted.certificate}.")
        _refuse(_CERTIFICATE, f"names {wanted.certificate}, which OpenSSL does not take: {error.reason or error}.")
    return True


def _read(name: str, path: Path) -> None:
    """Raises BadSettings unless it is a file of the right kind in PEM form."""
    try:
        text = path.read_bytes()
    except OSError as error:
        _refuse(name, f"names {path}, which cannot be read: {error.strerror}.")
    wanted, what = (b"PRIVATE KEY-----", "private key") if name == _KEY else (b"BEGIN CERTIFICATE-----", "certificate")
    if wanted not in text:
        _refuse(name, f"names {path}, which holds no {what} in PEM form.")


def _no_password() -> NoReturn:
    _refuse(_KEY, "names a key that is locked with a password; give one without.")


def _refuse(name: str, why: str) -> NoReturn:
    raise BadSettings(f"{name} {why}", name=name)


def place(wanted: FrontSettings, data_dir: Path) -> None:
    """Lets nginx find both files under fixed names. By links: a certificate that is renewed in place is found too."""
    folder = data_dir / _FOLDER
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    for name, path in (("certificate.pem", wanted.certificate), ("key.pem", wanted.certificate_key)):
        with contextlib.suppress(FileNotFoundError):
            (folder / name).unlink()
        (folder / name).symlink_to(Path(path).absolute())
