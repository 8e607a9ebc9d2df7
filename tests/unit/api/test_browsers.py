"""What browsers may do with the API: headers on every answer, no changes for pages of other sites, JSON only."""

import dataclasses
import gzip
import re

import pytest

from api import context, headers, origin
from api.app import create_app
from tests import fakes

BASE = "/api/v1/inference"
BODY = b'{"input_data": {"x": [1, 2]}}'
OURS = {name for name, _ in headers.ANSWER}


def post(client, service, data=BODY, **named):
    given = {name.replace("_", "-"): value for name, value in named.items()}
    return client.post(f"{BASE}/services/{service.id}/tasks", data=data, headers=given)


@pytest.fixture
def production(application, client, core):
    settings = dataclasses.replace(core.settings, mode="production")
    application.extensions[context.EXTENSION] = dataclasses.replace(core, settings=settings)
    return client


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/healthz"),
        ("GET", "/openapi.json"),
        ("GET", "/metrics"),
        ("GET", "/nothing"),
        ("PUT", "/healthz"),
        ("POST", "/v1/models/register"),
        ("GET", "/docs/"),
        ("GET", "/docs/swagger-ui.css"),
        ("GET", "/docs"),
    ],
)
def test_every_answer_carries_each_header_once(client, method, path):
    with client.open(path, method=method) as response:
        names = [name for name, _ in response.headers]

    expected = OURS - {"Cache-Control"} if path.startswith("/docs/") else OURS
    assert [name for name in expected if names.count(name) != 1] == []


def test_an_answer_may_load_nothing_and_is_not_kept(client):
    answer = client.get("/readyz").headers

    assert answer["Content-Security-Policy"] == "default-src 'none'; frame-ancestors 'none'"
    assert answer["Cache-Control"] == "no-store"


def test_the_documentation_runs_its_own_scripts_and_loads_from_here_only(client):
    page = client.get("/docs/", headers={"Host": "penstock.example:8443"})

    policy = dict(part.split(" ", 1) for part in page.headers["Content-Security-Policy"].split("; "))
    hashes = re.findall(r"'sha256-[^']+'", policy["script-src"])
    assert policy["script-src"].split() == ["'self'", *hashes]
    assert len(hashes) == page.text.count("<script>") == 1
    assert f"'sha256-{headers._digest(page.text.split('<script>')[1].split('</script>')[0])}'" in hashes
    assert "http" not in page.headers["Content-Security-Policy"]
    assert "penstock.example" not in page.text


@pytest.mark.parametrize(
    ("method", "sent", "is_refused"),
    [
        ("POST", {}, False),
        ("POST", {"SEC_FETCH_SITE": "same-origin", "ORIGIN": "http://a:8080"}, False),
        ("POST", {"SEC_FETCH_SITE": "none"}, False),
        ("POST", {"SEC_FETCH_SITE": "cross-site"}, True),
        ("DELETE", {"SEC_FETCH_SITE": "same-site", "ORIGIN": "http://a:8080"}, True),
        ("POST", {"SEC_FETCH_SITE": "unheard-of"}, True),
        ("POST", {"ORIGIN": "http://a:8080"}, False),
        ("POST", {"ORIGIN": "https://A:8080"}, False),
        ("POST", {"ORIGIN": "http://a"}, True),
        ("PATCH", {"ORIGIN": "http://b:8080"}, True),
        ("PUT", {"ORIGIN": "null"}, True),
        ("POST", {"ORIGIN": ""}, True),
        ("POST", {"ORIGIN": "http://[a"}, True),
        ("GET", {"SEC_FETCH_SITE": "cross-site", "ORIGIN": "http://b"}, False),
    ],
)
def test_a_page_of_another_site_changes_nothing(method, sent, is_refused):
    environ = {"HTTP_HOST": "a:8080"} | {f"HTTP_{name}": value for name, value in sent.items()}

    refusal = origin.refusal(method, environ)

    assert (refusal is not None) == is_refused


def test_a_refused_page_gets_our_error_with_our_headers_and_leaves_nothing(client, core, service):
    response = post(client, service, Sec_Fetch_Site="cross-site", Origin="http://elsewhere")

    assert (response.status_code, response.json["code"]) == (403, "cross_origin")
    assert response.json["details"] == {"origin": "http://elsewhere"}
    assert {name for name, _ in response.headers} >= OURS
    assert client.get(f"{BASE}/services/{service.id}/tasks").json["tasks"] == []


@pytest.mark.parametrize("kind", ["application/json", "application/json; charset=utf-8", "application/vnd.x.v1+json"])
def test_production_takes_a_body_that_says_it_is_json(production, service, kind):
    assert post(production, service, Content_Type=kind).status_code == 202


@pytest.mark.parametrize(
    "kind", ["text/plain", "application/x-www-form-urlencoded", "", "application/jsonp", "text/json"]
)
def test_production_refuses_a_body_that_a_browser_would_send_unasked(production, service, kind):
    response = post(production, service, **({"Content_Type": kind} if kind else {}))

    assert (response.status_code, response.json["code"]) == (415, "unsupported_media_type")
    assert "application/json" in response.json["message"]


def test_production_needs_no_type_where_there_is_no_body(production, service):
    assert production.post(f"{BASE}/services/{service.id}/stop").status_code == 200


def test_development_takes_the_type_that_curl_names(client, service):
    assert post(client, service, Content_Type="application/x-www-form-urlencoded").status_code == 202


def test_a_form_with_files_is_refused(client, service):
    response = post(client, service, Content_Type="multipart/form-data; boundary=x")

    assert (response.status_code, response.json["code"]) == (415, "unsupported_media_type")


@pytest.mark.parametrize("path", ["tasks", "tasks/batch"])
@pytest.mark.parametrize("kind", ["application/json", "application/x-ndjson"])
def test_a_packed_body_is_refused_in_a_sentence_of_its_own(client, service, path, kind):
    response = client.post(
        f"{BASE}/services/{service.id}/{path}",
        data=gzip.compress(BODY),
        headers={"Content-Encoding": "gzip", "Content-Type": kind},
    )

    assert (response.status_code, response.json["code"]) == (415, "unsupported_media_type")
    assert "send the body uncompressed" in response.json["message"]
    assert response.json["details"] == {"got": "gzip"}


@pytest.mark.parametrize(("behind_front", "scheme"), [(True, "https"), (False, "http")])
def test_the_scheme_that_the_front_tells_is_believed_behind_the_front_only(behind_front, scheme):
    core = fakes.make_core()
    api = dataclasses.replace(core.settings.api, behind_front=behind_front)
    application = create_app(dataclasses.replace(core, settings=dataclasses.replace(core.settings, api=api)))

    answer = application.test_client().get("/docs", headers={"X-Forwarded-Proto": "https"})

    assert answer.headers["Location"] == f"{scheme}://localhost/docs/"
