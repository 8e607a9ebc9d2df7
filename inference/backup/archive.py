"""An archive as text: one JSON object with a checksum over all else that it says."""

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from inference.access import checks
from inference.backup.model import FORMAT, FORMAT_VERSION, Archive, Sections
from inference.errors import ArchiveInvalid, TenantNotFound

MOST_BYTES = 256 << 20


def write(archive: Archive) -> bytes:
    """The archive, the same text for the same content."""
    told = {
        "format": FORMAT,
        "format_version": FORMAT_VERSION,
        "penstock": archive.version,
        "schema": archive.schema,
        "made_at": archive.made_at,
        "tenant_id": archive.tenant_id or None,
        "with_keys": archive.with_keys,
        "sections": archive.sections,
    }
    return _canonical({**told, "checksum": _sum(told)}) + b"\n"


def read(content: bytes) -> Archive:
    """Raises ArchiveInvalid, with one sentence, for what is broken, foreign, or of a newer version."""
    if len(content) > MOST_BYTES:
        raise ArchiveInvalid(f"The archive has more than {MOST_BYTES >> 20} MiB.", field="archive")
    try:
        told = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise ArchiveInvalid("This is no archive of Penstock: it is not JSON.", field="archive") from error
    return of_object(told)


def of_object(told: Any) -> Archive:
    """The same, of JSON that was read already."""
    if not isinstance(told, Mapping) or told.get("format") != FORMAT:
        raise ArchiveInvalid(f"This is no archive of Penstock: `format` is not `{FORMAT}`.", field="format")
    version = told.get("format_version")
    if isinstance(version, bool) or not isinstance(version, int) or version < 1:
        raise ArchiveInvalid("The archive does not say in which version of the format it is.", field="format_version")
    if version > FORMAT_VERSION:
        raise ArchiveInvalid(
            f"The archive has version {version} of the format, and this Penstock reads {FORMAT_VERSION}; restore it "
            "with a newer one.",
            field="format_version",
        )
    try:
        is_whole = told.get("checksum") == _sum({name: value for name, value in told.items() if name != "checksum"})
    except (ValueError, RecursionError):
        is_whole = False
    if not is_whole:
        raise ArchiveInvalid("The archive is damaged or was edited: its checksum does not fit.", field="checksum")
    sections = told.get("sections")
    if not isinstance(sections, Mapping) or not all(map(_is_section, sections.values())):
        raise ArchiveInvalid("The archive's `sections` must be lists of objects.", field="sections")
    texts = {name: told.get(name) or "" for name in ("made_at", "penstock", "schema", "tenant_id")}
    if not all(isinstance(text, str) for text in texts.values()):
        raise ArchiveInvalid("The head of the archive must hold texts.", field="made_at")
    if texts["tenant_id"]:
        try:
            checks.known_tenant_id(texts["tenant_id"])
        except TenantNotFound as error:
            raise ArchiveInvalid("The archive is of a tenant that cannot be.", field="tenant_id") from error
    return Archive(
        made_at=texts["made_at"],
        version=texts["penstock"],
        schema=texts["schema"],
        tenant_id=texts["tenant_id"],
        with_keys=told.get("with_keys") is True,
        sections=sections,
    )


def digest(sections: Sections) -> str:
    """Equal for sections that say the same."""
    return _sum(sections)


def _is_section(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(one, Mapping) for one in value)


def _sum(value: Any) -> str:
    return hashlib.sha256(_canonical(value)).hexdigest()


def _canonical(value: Any) -> bytes:
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False).encode()
