"""Uses the stack through its front, as a client would.

post_job.py URL serve                 registers the digits model, runs it, posts jobs, prints the id of the service
post_job.py URL submit SERVICE N      posts N jobs and prints their ids
post_job.py URL collect ID...         waits for these jobs

The API key is in PENSTOCK_API_KEY.
"""

import json
import os
import struct
import sys
import time
import urllib.error
import urllib.request
import zipfile
from pathlib import Path
from typing import Any

DIGITS = Path(__file__).resolve().parents[2] / "examples" / "digits"
BATCH = 64
PAUSE_S = 6.0  # long enough for Prometheus to see the counters before they grow


def main(url: str, command: str, *arguments: str) -> None:
    base = f"{url}/api/v1/inference"
    if command == "serve":
        print(serve(url, base))
    elif command == "submit":
        service_id, count = arguments
        print(*submit(base, service_id, test_set()[0][: int(count)]))
    elif command == "collect":
        collect(base, list(arguments), test_set()[1])
    else:
        sys.exit(__doc__)


def serve(url: str, base: str) -> str:
    pictures, labels = test_set()
    service_id = start_service(url, base)
    body = {"input_data": {"image": [pictures[0]]}, "priority": 5}
    task = call("POST", f"{base}/services/{service_id}/tasks", body)
    answer = wait(base, task["task_id"])
    say(f"the answer (the picture shows a {labels[0]}): {json.dumps(answer)}")
    check(answer["result"]["label"] == [labels[0]], "a wrong digit")
    predicted = call("POST", f"{base}/services/{service_id}/predict", {"input_data": {"image": [pictures[0]]}})
    check(predicted["prediction"]["label"] == [labels[0]], f"a wrong prediction: {predicted}")
    say(f"a prediction: {predicted['prediction']['label'][0]} after {predicted['latency_ms']} ms")
    time.sleep(PAUSE_S)
    collect(base, submit(base, service_id, pictures[:BATCH]), labels)
    return service_id


def start_service(url: str, base: str) -> str:
    registration = json.loads((DIGITS / "model.json").read_text())
    uploaded = call("POST", f"{url}/v1/uploads", (DIGITS / "model.onnx").read_bytes())
    registration["model_path"] = f"upload:{uploaded['upload_id']}"
    model = call("POST", f"{url}/v1/models/register", registration)
    service = call("POST", f"{base}/services", {"model_id": model["model_id"], "config": {"replicas": 1}})
    where = f"{base}/services/{service['service_id']}"
    began = time.monotonic()
    call("POST", f"{where}/start")
    while (now := call("GET", where))["status"] != "running":
        check(time.monotonic() - began < 60 and now["status"] == "deploying", f"the service did not start: {now}")
        time.sleep(0.1)
    say(f"service {service['service_id']} runs after {time.monotonic() - began:.1f} s")
    return str(service["service_id"])


def submit(base: str, service_id: str, pictures: list[list[list[int]]]) -> list[str]:
    inputs = [{"image": [picture]} for picture in pictures]
    tasks = call("POST", f"{base}/services/{service_id}/tasks/batch", {"input_data_list": inputs, "priority": 1})
    return list(tasks["task_ids"])


def collect(base: str, task_ids: list[str], labels: list[int]) -> None:
    began = time.monotonic()
    answers = [wait(base, task_id) for task_id in task_ids]
    right = sum(answer["result"]["label"] == [label] for answer, label in zip(answers, labels, strict=False))
    largest = max(answer["batch_size"] for answer in answers)
    took_s = time.monotonic() - began
    say(f"{len(answers)} jobs: {right} right, all done after {took_s:.2f} s, largest engine call {largest} jobs")
    check(right >= 0.9 * len(answers), "too many wrong digits")


def wait(base: str, task_id: str) -> dict[str, Any]:
    answer: dict[str, Any] = call("GET", f"{base}/tasks/{task_id}?wait=60")
    check(answer["status"] == "completed", f"the job did not complete: {answer}")
    return answer


def test_set() -> tuple[list[list[list[int]]], list[int]]:
    """The images that the model was not trained on, read without numpy."""
    with zipfile.ZipFile(DIGITS / "test_images.npz") as archive:
        pixels, numbers = content(archive.read("images.npy")), content(archive.read("labels.npy"))
    count = len(numbers) // 8
    images = [[list(pixels[at + row * 8 : at + row * 8 + 8]) for row in range(8)] for at in range(0, count * 64, 64)]
    return images, list(struct.unpack(f"<{count}q", numbers))


def content(npy: bytes) -> bytes:
    """What follows the header of a version 1 .npy file."""
    return npy[10 + int.from_bytes(npy[8:10], "little") :]


def call(method: str, url: str, body: object = None) -> Any:
    """The JSON answer; ends the script with the server's own words where it refuses."""
    data = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
    kind = "application/octet-stream" if isinstance(body, bytes) else "application/json"
    headers = {"Content-Type": kind, "Authorization": f"Bearer {os.environ.get('PENSTOCK_API_KEY', '')}"}
    request = urllib.request.Request(url, data=data, method=method, headers=headers)
    try:
        with urllib.request.urlopen(request, timeout=90) as response:
            return json.load(response)
    except urllib.error.HTTPError as error:
        sys.exit(f"{method} {url}: {error.code} {error.read().decode(errors='replace')}")


def check(is_right: bool, message: str) -> None:
    if not is_right:
        sys.exit(message)


def say(text: str) -> None:
    print(f"== {text}", file=sys.stderr)


if __name__ == "__main__":
    main(*sys.argv[1:])
