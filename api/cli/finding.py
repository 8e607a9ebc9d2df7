"""What one check of `doctor` found, and what to do about it."""

from dataclasses import asdict, dataclass

OK, WARN, FAIL = "ok", "warn", "fail"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """`status`: ok, warn (works, but) or fail (will not work). `fix`: what to do; empty for ok."""

    name: str
    status: str
    message: str
    fix: str = ""

    def as_json(self) -> dict[str, str]:
        return asdict(self)


def ok(name: str, message: str) -> Finding:
    return Finding(name=name, status=OK, message=message)


def warn(name: str, message: str, fix: str) -> Finding:
    return Finding(name=name, status=WARN, message=message, fix=fix)


def fail(name: str, message: str, fix: str) -> Finding:
    return Finding(name=name, status=FAIL, message=message, fix=fix)
