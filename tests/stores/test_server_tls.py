"""Stores of servers that are reached by TLS."""

from __future__ import annotations

import shutil
import socket
import subprocess
from contextlib import suppress

import pytest
from servers import (
    REDIS,
    PostgresServer,
    RedisServer,
    free_port,
    postgres_programs,
    require,
    require_psycopg,
    require_redis,
)

require_redis()

from redis.exceptions import RedisError

from memollm import Cache
from memollm.errors import StoreRefused
from memollm.stores import serving

OPENSSL = shutil.which("openssl")
KEY = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")


pytestmark = pytest.mark.usefixtures("team_key")


def make_certificate(folder, name):
    """Make a certificate that is its own authority, for the server of loopback."""
    key, certificate = folder / f"{name}.key", folder / f"{name}.pem"
    names = ("-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1")
    command = [OPENSSL, "req", "-x509", *KEY, "-days", "2", *names, "-keyout", key, "-out", certificate]
    subprocess.run([*map(str, command)], check=True, capture_output=True, timeout=60)
    return key, certificate


@pytest.fixture(scope="module")
def certificates(tmp_path_factory):
    """Make a server's certificate, and one that has nothing to do with it."""
    require(OPENSSL, "openssl")
    folder = tmp_path_factory.mktemp("certificates")
    return {name: make_certificate(folder, name) for name in ("server", "other")}


def _listens(port):
    with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=10):
        return True
    return False


@pytest.fixture(scope="module")
def secure_redis(certificates):
    """Give the URL of a Redis server by TLS."""
    require(REDIS, "a Redis server")
    server = RedisServer()
    try:
        with server.start().client() as client:
            require(client.config_get("tls-port"), "a Redis server that speaks TLS")
            key, certificate = certificates["server"]
            port = free_port()
            for name, value in (
                *(("tls-cert-file", certificate), ("tls-key-file", key), ("tls-ca-cert-file", certificate)),
                *(("tls-auth-clients", "no"), ("tls-port", port)),
            ):
                # One that was built without may not survive the question.
                with suppress(OSError, RedisError):
                    client.config_set(name, str(value))
            require(_listens(port), "a Redis server that was built with TLS")
        yield server.url_at(port).replace("redis://", "rediss://") + "?ssl_ca_certs={}"
    finally:
        server.stop()


@pytest.fixture(scope="module")
def secure_postgres(certificates):
    """Give the URL of a PostgreSQL server by TLS."""
    require_psycopg()
    require(postgres_programs(), "a PostgreSQL server")
    server = PostgresServer(is_synced=False)
    try:
        for option, file in zip(("ssl_key_file", "ssl_cert_file"), certificates["server"], strict=True):
            own = server.folder / file.name
            shutil.copy(file, own)
            own.chmod(0o600)
            if server.user:
                shutil.chown(own, "postgres", "postgres")
            server.options[option] = own
        server.options["ssl"] = "on"
        yield server.start().url + "?sslmode=verify-full&sslrootcert={}"
    finally:
        server.stop()


@pytest.fixture(params=["secure_redis", "secure_postgres"])
def url(request):
    """Give each kind of server by TLS; the authority's file is to be filled in."""
    return request.getfixturevalue(request.param)


def test_a_server_by_tls(url, certificates):
    """What is encrypted is a cache as any other, also on the connection that listens."""
    place = url.format(certificates["server"][1])
    with Cache(place) as cache, Cache(place) as other:
        ask = cache.cached_llm(namespace="a", name="ask", version=1)(lambda: "answer")
        assert ask() == "answer"
        assert [space.draws for space in other.namespaces()] == [1]
        assert cache.store.opened().line.is_up.is_set()


def test_a_certificate_of_somebody_else(url, certificates, monkeypatch):
    """Who cannot show that it is the server is told of in one sentence, and nobody waits for it."""
    monkeypatch.setattr(serving, "warn", lambda *_: pytest.fail("it waits"))
    said = r"^No encrypted connection to .* came about: .*certificate"
    with Cache(url.format(certificates["other"][1])) as cache, pytest.raises(StoreRefused, match=said) as raised:
        cache.namespaces()
    assert "hush" not in str(raised.value)
    assert "in the URL" in str(raised.value)


@pytest.mark.parametrize(("scheme", "other"), [("redis", "rediss"), ("valkey", "valkeys")])
def test_a_server_that_speaks_tls_alone(secure_redis, scheme, other, monkeypatch):
    """Who does not speak TLS to a server that takes nothing else is told what to write, and nobody waits for it."""
    monkeypatch.setattr(serving, "warn", lambda *_: pytest.fail("it waits"))
    url = secure_redis.partition("?")[0].replace("rediss://", f"{scheme}://")
    with Cache(url) as cache, pytest.raises(StoreRefused, match=f"Begin the URL with {other}://") as raised:
        cache.namespaces()
    assert "hush" not in str(raised.value)
