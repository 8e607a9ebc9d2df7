"""Asks the stack for what is made of files: an input by reference, reports, a backup and its restore.

check_files.py URL SERVICE

The API key is in PENSTOCK_API_KEY.
"""

import json
import os
import sys
import time
import urllib.request

from post_job import call, check, say, test_set, wait

PATIENCE_S = 60


def main(url: str, service_id: str) -> None:
    base = f"{url}/api/v1/inference"
    by_reference(base, service_id)
    for kind, language, begins in (("html", "en", b"<!"), ("pdf", "en", b"%PDF-"), ("pdf", "zh", b"%PDF-")):
        report(base, service_id, kind, language, begins)
    backup(base)


def by_reference(base: str, service_id: str) -> None:
    pictures, labels = test_set()
    upload = call("POST", f"{base}/uploads", json.dumps({"image": [pictures[0]]}).encode())
    task = call("POST", f"{base}/services/{service_id}/tasks", {"input_ref": f"upload:{upload['upload_id']}"})
    answer = wait(base, task["task_id"])
    check(answer["result"]["label"] == [labels[0]], "a wrong digit")
    say(f"an input by reference: {upload['size_bytes']} bytes, a {labels[0]}")


def report(base: str, service_id: str, kind: str, language: str, begins: bytes) -> None:
    asked = {"format": kind, "language": language}
    began = time.monotonic()
    made = call("POST", f"{base}/services/{service_id}/reports", asked)
    while (now := call("GET", f"{base}/reports/{made['report_id']}"))["status"] in ("pending", "running"):
        check(time.monotonic() - began < PATIENCE_S, f"no report after {PATIENCE_S} s: {now}")
        time.sleep(0.2)
    check(now["status"] == "completed", f"the report did not complete: {now}")
    body = content(f"{base}/reports/{made['report_id']}/content")
    check(body.startswith(begins), f"not a file of this kind: {body[:20]!r}")
    say(f"a report: {kind}, {language}, {len(body)} bytes after {time.monotonic() - began:.1f} s")


def backup(base: str) -> None:
    made = call("POST", f"{base}/backups")
    archive = content(f"{base}/backups/{made['backup_id']}/content")
    plan = call("POST", f"{base}/backups/{made['backup_id']}/restore?all=true")
    actions = sorted({entry["action"] for entry in plan["objects"]})
    check(actions == ["unchanged"], f"a backup of a moment ago would change something: {plan}")
    say(f"a backup: {len(archive)} bytes; a restore finds all of its {len(plan['objects'])} objects unchanged")


def content(url: str) -> bytes:
    headers = {"Authorization": f"Bearer {os.environ.get('PENSTOCK_API_KEY', '')}"}
    with urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=30) as response:
        body: bytes = response.read()
    return body


if __name__ == "__main__":
    main(*sys.argv[1:])
