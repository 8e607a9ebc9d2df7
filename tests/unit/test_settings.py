"""Settings: names, kinds, files, and what production refuses."""

import dataclasses

import pytest

from inference import ranges
from inference.errors import BadSettings
from inference.settings import Settings, load


def test_a_default_works_with_nothing_set():
    settings = load({})

    assert settings.mode == "development"
    assert settings.database_url.startswith("sqlite:////")
    assert settings.api.host == "127.0.0.1"


def test_a_room_and_a_name_set_a_value_of_its_kind():
    settings = load(
        {
            "PENSTOCK_JOBS__MAX_ATTEMPTS": "5",
            "PENSTOCK_WORKERS__LEASE_S": "20.5",
            "PENSTOCK_TELEMETRY__JOB_EVENTS": "yes",
            "PENSTOCK_ROLE": "worker",
            "PATH": "/bin",
        }
    )

    assert settings.jobs.max_attempts == 5
    assert settings.workers.lease_s == 20.5
    assert settings.telemetry.job_events is True
    assert settings.process.role == "worker"


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("PENSTOCK_JOBS__MAX_ATTEMPT", "5", "known here: max_attempts"),
        ("PENSTOCK_JOB__MAX_ATTEMPTS", "5", "no group of settings called 'job'"),
        ("PENSTOCK_REDISURL", "x", "is not a setting"),
        ("PENSTOCK_PROCESS__ROLE__X", "x", "PENSTOCK_PROCESS__ROLE__X"),
        ("PENSTOCK_JOBS__MAX_ATTEMPTS", "many", "must be an int"),
        ("PENSTOCK_TELEMETRY__JOB_EVENTS", "perhaps", "must be a bool"),
        ("PENSTOCK_MODE", "staging", "development or production"),
        ("PENSTOCK_API__PORT", "99999", "PENSTOCK_API__PORT must be a port, 0 to 65535"),
        ("PENSTOCK_WORKERS__METRICS_PORT", "-1", "must be a port, 0 to 65535 (0 takes a free one), not -1"),
        ("PENSTOCK_JOBS__MAX_ATTEMPTS", "0", "PENSTOCK_JOBS__MAX_ATTEMPTS must be from 1 to 100, not 0."),
        ("PENSTOCK_JOBS__TIMEOUT_S", "nan", "must be from 0.001 to 86400, not nan"),
        ("PENSTOCK_RESULTS__KEEP_S", "inf", "not inf"),
        ("PENSTOCK_API__WORKERS", "-2", "must be from 1 to 1024, not -2"),
        ("PENSTOCK_WORKERS__RENEW_S", "15", "must be less than workers.lease_s"),
        ("PENSTOCK_REDIS_URL", "cache:6379", "PENSTOCK_REDIS_URL must be a URL that begins with redis://, rediss://"),
        ("PENSTOCK_REDIS_URL", "redis://:secret@cache:port", "PENSTOCK_REDIS_URL must be a URL that begins with"),
        ("PENSTOCK_BROKER_URL", "http://queue", "PENSTOCK_BROKER_URL must be a URL that begins with"),
        ("PENSTOCK_TELEMETRY__LOG_LEVEL", "loud", "debug, info, warning"),
        ("PENSTOCK_STORE__SQLITE_SYNCHRONOUS", "OFF", "FULL, NORMAL or EXTRA"),
        ("PENSTOCK_CONFIG", "/does/not/exist.toml", "cannot be read"),
        ("PENSTOCK_BLOBS__STORE", "ftp", "must be files or s3"),
        ("PENSTOCK_BLOBS__STORE", "s3", "PENSTOCK_BLOBS__S3_BUCKET names no bucket"),
        ("PENSTOCK_BLOBS__S3_ENDPOINT", "s3.example.org", "must be a URL"),
        ("PENSTOCK_INPUTS__ALLOWED_NETWORKS", "10.0.0.0/8, 10.1.0.0/8x", "must be networks such as"),
        ("PENSTOCK_NOTIFY__ALLOWED_NETWORKS", "10.0.0.1/8", "has host bits set"),
        ("PENSTOCK_REDIS__CA_FILE", "/does/not/exist.pem", "names /does/not/exist.pem, which is no file"),
    ],
)
def test_a_wrong_name_or_value_stops_the_start_with_one_sentence(name, value, said):
    with pytest.raises(BadSettings) as refusal:
        load({name: value})

    assert said in refusal.value.message
    assert "secret" not in refusal.value.message


def test_the_keys_of_a_bucket_are_not_shown():
    settings = load({"PENSTOCK_BLOBS__S3_ACCESS_KEY": "hidden-1", "PENSTOCK_BLOBS__S3_SECRET_KEY": "hidden-2"})

    assert settings.blobs.s3_secret_key == "hidden-2"
    assert "hidden" not in repr(settings)


def test_every_number_has_a_range_and_its_default_is_in_it():
    defaults = Settings()
    numbers = {
        (room.name, one.name)
        for room in dataclasses.fields(Settings)
        if dataclasses.is_dataclass(inner := getattr(defaults, room.name)) and room.name != "process"
        for one in dataclasses.fields(inner)
        if type(getattr(inner, one.name)) in (int, float)
    }

    ranged = {(room, name) for room, names in ranges.RANGES.items() for name in names}

    assert numbers == ranged, "give each its line in inference/ranges.py"
    assert list(ranges.refusals({room: getattr(defaults, room) for room in ranges.RANGES})) == []


def test_the_environment_wins_over_the_file(tmp_path):
    path = tmp_path / "penstock.toml"
    path.write_text('mode = "development"\n[jobs]\nmax_attempts = 7\nhead_start_s = 10\n')

    settings = load({"PENSTOCK_CONFIG": str(path), "PENSTOCK_JOBS__MAX_ATTEMPTS": "2"})

    assert (settings.jobs.max_attempts, settings.jobs.head_start_s) == (2, 10.0)


def test_a_misspelt_name_in_the_file_stops_the_start(tmp_path):
    path = tmp_path / "penstock.toml"
    path.write_text("[jobs]\nmax_atempts = 7\n")

    with pytest.raises(BadSettings, match=r"jobs\.max_atempts"):
        load({"PENSTOCK_CONFIG": str(path)})


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ({"PENSTOCK_REDIS_URL": "redis://cache:6379/0"}, "unprotected Redis"),
        ({"PENSTOCK_BROKER_URL": "rediss://cache:6379/0"}, "unprotected Redis"),
        ({"PENSTOCK_REDIS_URL": "redis://:changeme@cache:6379/0"}, "default password"),
        ({"PENSTOCK_DATABASE_URL": "postgresql://penstock:penstock@db/penstock"}, "default password"),
        ({"PENSTOCK_BROKER_URL": "amqp://guest:guest@mq//"}, "default password"),
        ({"PENSTOCK_BROKER_URL": "amqp://mq//"}, "names no password"),
        ({"PENSTOCK_REDIS_URL": "rediss://:8d1f0a@cache/0?ssl_cert_reqs=none"}, "says ssl_cert_reqs=none; production"),
        (
            {"PENSTOCK_BROKER_URL": "rediss://:8d1f0a@cache/0?ssl_cert_reqs=CERT_OPTIONAL"},
            "says ssl_cert_reqs=cert_opt",
        ),
        (
            {"PENSTOCK_REDIS_URL": "rediss://:8d1f0a@10.0.0.9/0?ssl_check_hostname=False"},
            "says ssl_check_hostname=false",
        ),
        ({"PENSTOCK_DATABASE_URL": "postgresql://p:77aa01@db/penstock?sslmode=disable"}, "says sslmode=disable"),
        ({"PENSTOCK_DATABASE_URL": "postgresql://p:77aa01@/d?host=db&sslmode=disable"}, "says sslmode=disable"),
    ],
)
def test_production_refuses_open_doors_and_default_secrets(url, said):
    with pytest.raises(BadSettings, match=said):
        load({"PENSTOCK_MODE": "production", **url})


@pytest.mark.parametrize(
    "urls",
    [
        {"PENSTOCK_REDIS_URL": "rediss://:8d1f0a@cache/0"},
        {"PENSTOCK_REDIS_URL": "rediss://:8d1f0a@127.0.0.1/0?ssl_cert_reqs=none"},
        {"PENSTOCK_DATABASE_URL": "postgresql://p:77aa01@localhost/penstock?sslmode=disable"},
        {"PENSTOCK_DATABASE_URL": "postgresql://p:77aa01@/penstock?host=/run/postgresql&sslmode=disable"},
        {"PENSTOCK_DATABASE_URL": "postgresql://p:77aa01@db/penstock?sslmode=verify-full&sslrootcert=/ca.pem"},
    ],
)
def test_production_takes_checked_tls_and_servers_on_this_machine(urls):
    assert load({"PENSTOCK_MODE": "production", **urls}).mode == "production"


def test_production_takes_what_is_protected():
    settings = load(
        {
            "PENSTOCK_MODE": "production",
            "PENSTOCK_REDIS_URL": "redis://:8d1f0a@cache:6379/0",
            "PENSTOCK_DATABASE_URL": "postgresql://penstock:77aa01@db/penstock",
        }
    )

    assert settings.broker_url == settings.redis_url


def test_secrets_do_not_show_in_the_repr():
    settings = load({"PENSTOCK_REDIS_URL": "redis://:hush@cache:6379/0"})

    assert "hush" not in repr(settings)
