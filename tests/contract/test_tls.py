"""Encrypted links against real servers: the right authority and name connect, anything else is refused, by everyone."""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import nullcontext, suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import msgspec
import pytest
import redis

from inference.errors import StoreUnavailable
from inference.redisio import news
from inference.redisio.client import DONE_CHANNEL, RedisLink
from inference.settings import RedisSettings, Settings, StoreSettings
from inference.store.database import Database
from tests.conftest import missing
from tests.guarded import Authority, TlsPostgres, TlsProxy
from tests.services import Missing, Valkey
from workers.app import make_app
from workers.publisher import Sender

NAMES = ("DNS:localhost", "IP:127.0.0.1")


def link(settings: Settings) -> None:
    opened = RedisLink(settings)
    try:
        opened.ping()
    finally:
        opened.close()


def publisher(settings: Settings) -> None:
    sender = Sender(settings)
    try:
        sender.send("svc.tls", "penstock.drain", [])
    finally:
        sender.drop()


def celery_broker(settings: Settings) -> None:
    app = make_app(settings)
    try:
        with app.connection_for_read() as connection:
            connection.default_channel.client.ping()
    finally:
        app.close()


def connected(settings: Settings) -> None:
    """As a worker connects to any broker."""
    app = make_app(settings)
    try:
        with app.connection_for_read() as connection:
            connection.connect()
    finally:
        app.close()


def celery_backend(settings: Settings) -> None:
    app = make_app(settings)
    try:
        app.backend.client.ping()
    finally:
        app.backend.client.close()
        app.close()


def heard(settings: Settings, plain_url: str) -> list[object]:
    """What an asynchronous process hears of two ids that are told while it listens."""
    ids: list[object] = []

    async def listen() -> None:
        task = asyncio.create_task(news.listen(settings, lambda told: ids.extend(told or ())))
        client = redis.Redis.from_url(plain_url)
        for _ in range(20):
            await asyncio.sleep(0.05)
            if client.publish(DONE_CHANNEL, msgspec.msgpack.encode(["a", "b"])):
                break
        await asyncio.sleep(0.1)
        client.close()
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task

    asyncio.run(listen())
    return ids


CLIENTS: list[Callable[[Settings], None]] = [link, publisher, celery_broker, celery_backend]


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    try:
        return Authority(Path(tmp_path_factory.mktemp("ours")))
    except Missing as what:
        missing("openssl", what)


@pytest.fixture(scope="module")
def stranger(tmp_path_factory: pytest.TempPathFactory, authority: Authority) -> Authority:
    return Authority(Path(tmp_path_factory.mktemp("another")))


@pytest.fixture(scope="module")
def proxy(authority: Authority, shared_valkey: Valkey) -> Iterator[TlsProxy]:
    certificate, key = authority.certificate(*NAMES)
    with TlsProxy(shared_valkey.port, certificate=certificate, key=key) as running:
        yield running


@pytest.fixture(scope="module")
def misnamed(authority: Authority, shared_valkey: Valkey) -> Iterator[TlsProxy]:
    certificate, key = authority.certificate("DNS:cache.example")
    with TlsProxy(shared_valkey.port, certificate=certificate, key=key) as running:
        yield running


def settings_of(proxy: TlsProxy, *, host: str = "localhost", ca_file: object = "", query: str = "") -> Settings:
    url = f"rediss://{host}:{proxy.port}/0{query}"
    limits = RedisSettings(ca_file=str(ca_file), publish_timeout_s=5.0)
    return Settings(redis_url=url, broker_url=url, redis=limits)


@pytest.mark.parametrize("client", CLIENTS)
@pytest.mark.parametrize("said_by", ["setting", "url"])
@pytest.mark.parametrize("host", ["localhost", "127.0.0.1"])
def test_a_server_that_our_authority_vouches_for_is_connected_to_over_tls(
    proxy: TlsProxy, authority: Authority, client: Any, said_by: str, host: str
) -> None:
    how = {"ca_file": authority.file} if said_by == "setting" else {"query": f"?ssl_ca_certs={authority.file}"}
    before = proxy.handshakes

    client(settings_of(proxy, host=host, **how))

    assert proxy.handshakes > before


@pytest.mark.parametrize("client", CLIENTS)
@pytest.mark.parametrize("trusted", ["the system's authorities", "another authority"])
def test_a_server_that_nobody_we_trust_vouches_for_is_refused(
    proxy: TlsProxy, stranger: Authority, client: Any, trusted: str
) -> None:
    settings = settings_of(proxy, ca_file=stranger.file if trusted == "another authority" else "")

    with pytest.raises(Exception, match="CERTIFICATE_VERIFY_FAILED"):
        client(settings)


@pytest.mark.parametrize("client", CLIENTS)
def test_a_server_with_a_certificate_for_another_name_is_refused(
    misnamed: TlsProxy, authority: Authority, client: Any
) -> None:
    with pytest.raises(Exception, match="Hostname mismatch"):
        client(settings_of(misnamed, ca_file=authority.file))


def test_who_waits_for_news_hears_it_over_tls_and_from_nobody_else(
    proxy: TlsProxy, misnamed: TlsProxy, authority: Authority, stranger: Authority, shared_valkey: Valkey
) -> None:
    by_trust = {
        "ours": heard(settings_of(proxy, ca_file=authority.file), shared_valkey.url),
        "another": heard(settings_of(proxy, ca_file=stranger.file), shared_valkey.url),
        "misnamed": heard(settings_of(misnamed, ca_file=authority.file), shared_valkey.url),
    }

    assert by_trust == {"ours": ["a", "b"], "another": [], "misnamed": []}


@pytest.mark.parametrize(
    ("names", "is_trusted", "said"),
    [
        (NAMES, True, ""),
        (NAMES, False, "CERTIFICATE_VERIFY_FAILED"),
        (("DNS:queue.example",), True, "Hostname mismatch"),
    ],
    ids=["right", "another authority", "another name"],
)
def test_rabbitmq_over_tls_is_connected_to_where_authority_and_name_are_right(
    rabbitmq_url: str,
    authority: Authority,
    stranger: Authority,
    monkeypatch: pytest.MonkeyPatch,
    names: tuple[str, ...],
    is_trusted: bool,
    said: str,
) -> None:
    plain = urlsplit(rabbitmq_url)
    monkeypatch.setenv("SSL_CERT_FILE", str((authority if is_trusted else stranger).file))
    certificate, key = authority.certificate(*names)

    with TlsProxy(plain.port or 0, certificate=certificate, key=key) as proxy:
        url = f"amqps://{plain.username}:{plain.password}@localhost:{proxy.port}//"
        settings = Settings(broker_url=url, redis=RedisSettings(publish_timeout_s=2.0 if said else 10.0))
        for client in (publisher, connected):
            with pytest.raises(Exception, match=said) if said else nullcontext():
                client(settings)

    assert bool(proxy.handshakes) is not bool(said)


@pytest.fixture(scope="module")
def postgres(server_folder: Path, authority: Authority) -> Iterator[TlsPostgres]:
    try:
        server = TlsPostgres(server_folder / "tls-postgres", authority, "DNS:localhost")
    except Missing as what:
        missing("TlsPostgres", what)
    server.start()
    yield server
    server.stop()


def ask(url: str) -> bool:
    """Whether the link is encrypted, in the server's own words. Raises StoreUnavailable."""
    database = Database(url, StoreSettings())
    try:
        with database.read() as connection:
            told = connection.exec_driver_sql("SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()")
            return bool(told.scalar_one())
    finally:
        database.close()


def verified(postgres: TlsPostgres, authority: Authority, host: str) -> str:
    url = postgres.url.replace("127.0.0.1", host)
    return f"{url}?sslmode=verify-full&sslrootcert={authority.file}"


def test_postgresql_is_connected_to_over_tls_by_the_options_of_its_url(
    postgres: TlsPostgres, authority: Authority
) -> None:
    assert ask(verified(postgres, authority, "localhost")) is True
    assert ask(postgres.url + "?sslmode=disable") is False


@pytest.mark.parametrize(
    ("host", "is_ours", "said"),
    [
        ("localhost", False, "certificate verify failed"),
        ("127.0.0.1", True, 'does not match host name "127.0.0.1"'),
    ],
)
def test_postgresql_with_the_wrong_authority_or_name_is_refused_in_one_sentence(
    postgres: TlsPostgres, authority: Authority, stranger: Authority, host: str, is_ours: bool, said: str
) -> None:
    with pytest.raises(StoreUnavailable, match=said) as refusal:
        ask(verified(postgres, authority if is_ours else stranger, host))

    assert len(refusal.value.message.splitlines()) == 1


def test_postgresql_without_tls_is_refused_where_a_checked_link_is_asked_for(
    postgres_url: str, authority: Authority
) -> None:
    with pytest.raises(StoreUnavailable, match="server does not support SSL, but SSL was required"):
        ask(f"{postgres_url}?sslmode=verify-full&sslrootcert={authority.file}")
