"""What `rediss://` means: always a checked certificate, unless the URL itself says otherwise."""

import pytest

from inference.errors import BadSettings
from inference.redisio import tls
from inference.settings import RedisSettings, Settings
from workers.config import celery_config
from workers.publisher import broker_tls

CHECKED = {"ssl_cert_reqs": "required", "ssl_check_hostname": True}


@pytest.mark.parametrize(
    ("url", "ca_file", "wanted"),
    [
        ("", "", {}),
        ("redis://cache/0", "/ca.pem", {}),
        ("rediss://cache/0", "", CHECKED),
        ("rediss://cache/0", "/ca.pem", CHECKED | {"ssl_ca_certs": "/ca.pem"}),
        ("rediss://cache/0?ssl_ca_certs=/own.pem", "/ca.pem", CHECKED | {"ssl_ca_certs": "/own.pem"}),
        ("rediss://cache/0?ssl_cert_reqs=CERT_REQUIRED", "", CHECKED),
        ("rediss://cache/0?ssl_cert_reqs=none", "", CHECKED | {"ssl_cert_reqs": "none"}),
        ("rediss://cache/0?ssl_check_hostname=false", "", CHECKED | {"ssl_check_hostname": False}),
    ],
)
def test_the_certificate_is_required_and_its_authority_comes_from_the_url_or_the_setting(url, ca_file, wanted):
    assert tls.options(url, RedisSettings(ca_file=ca_file)) == wanted


def test_an_option_that_does_not_exist_is_refused():
    with pytest.raises(BadSettings, match="'ssl_ca_cert' in a rediss:// URL is not known"):
        tls.options("rediss://cache/0?ssl_ca_cert=/ca.pem", RedisSettings())


def test_a_url_keeps_everything_but_its_tls_options():
    url = "rediss://api:p%40ss@cache:6380/2?ssl_ca_certs=/ca.pem&protocol=3"

    assert tls.without_options(url) == "rediss://api:p%40ss@cache:6380/2?protocol=3"
    assert tls.without_options("redis://cache/0?protocol=3") == "redis://cache/0?protocol=3"
    assert tls.without_options("") == ""


def test_celery_checks_the_certificate_of_broker_and_result_backend():
    config = celery_config(Settings(redis_url="rediss://r/0", broker_url="rediss://b/0?ssl_ca_certs=/ca.pem"))

    assert config["broker_url"] == "rediss://b/0?ssl_cert_reqs=required&ssl_check_hostname=True&ssl_ca_certs=%2Fca.pem"
    assert config["broker_use_ssl"] == CHECKED | {"ssl_ca_certs": "/ca.pem"}
    assert (config["result_backend"], config["redis_backend_use_ssl"]) == ("rediss://r/0", CHECKED)


def test_rabbitmq_over_tls_must_show_the_name_that_it_is_called_by():
    found = broker_tls(Settings(broker_url="amqps://u:p@queue:5671//"))

    assert found["server_hostname"] == "queue"
    assert found["cert_reqs"].name == "CERT_REQUIRED"
    assert broker_tls(Settings(broker_url="amqp://u:p@queue//")) is False
