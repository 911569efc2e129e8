"""The environment: declared once, refused in sentences that name the variable and never the value."""

from __future__ import annotations

import base64
import hashlib
import os
import re
import subprocess
import sys

import pytest
from pydantic import SecretStr

from controlplane.connections import database_settings, listen_settings, mail_settings
from controlplane.environment import (
    REPOSITORY,
    ConfigurationError,
    Environment,
    environment,
    parse_keyring,
    render_table,
    variable_of,
)
from controlplane.postgresql.waits import NETWORK, Waits

# Fixed, since parameters name tests and every worker must find the same.
KEY = base64.b64encode(hashlib.sha256(b"one").digest()).decode()
OTHER = base64.b64encode(hashlib.sha384(b"two").digest()).decode()
SHORT = base64.b64encode(hashlib.sha256(b"three").digest()[:31]).decode()


@pytest.fixture
def variables(monkeypatch):
    """Nothing but what the test sets."""
    for name in list(os.environ):
        if name.startswith("AIGATEWAY_") or name == "DATABASE_URL":
            monkeypatch.delenv(name)
    environment.cache_clear()
    yield monkeypatch.setenv
    environment.cache_clear()


def test_without_variables_there_are_defaults_for_one_machine(variables):
    found = environment()
    assert database_settings(found)["ENGINE"] == "django.db.backends.sqlite3"
    assert database_settings(found)["OPTIONS"]["transaction_mode"] == "IMMEDIATE"
    assert found.fleet_listen == "127.0.0.1:5561"
    assert found.allow_private_providers is False
    assert found.debug is False
    assert found.loopback_only
    assert not found.https_on


def test_nothing_starts_without_secrets_and_all_of_them_are_named_at_once(variables):
    with pytest.raises(ConfigurationError) as refused:
        environment().demand_secrets()
    for name in ("AIGATEWAY_SECRET_KEY", "AIGATEWAY_ROOT_KEYS", "AIGATEWAY_PEPPERS"):
        assert name in str(refused.value)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "missing"),
        (KEY, "version:base64"),
        (f"0:{KEY}", "positive"),
        (f"-1:{KEY}", "positive"),
        (f"one:{KEY}", "whole version"),
        ("1:not base64!", "not base64"),
        (f"1:{SHORT}", "32 bytes"),
        ("1:", "32 bytes"),
        ("1:" + base64.b64encode(bytes(32)).decode(), "not random"),
        ("1:" + base64.b64encode(b"ab" * 16).decode(), "not random"),
        (f"1:{KEY},1:{OTHER}", "twice"),
        (f"2:{KEY},{OTHER}", "entry 2"),
    ],
)
def test_a_bad_key_is_refused_without_being_shown(text, words):
    with pytest.raises(ConfigurationError) as refused:
        parse_keyring(text, name="AIGATEWAY_PEPPERS")
    assert words in str(refused.value)
    assert "AIGATEWAY_PEPPERS" in str(refused.value)
    for value in (KEY, OTHER, "not base64!"):
        assert value not in str(refused.value)


def test_the_newest_key_comes_first():
    assert list(parse_keyring(f"7:{KEY}, 3:{OTHER}", name="X")) == [7, 3]


def test_a_root_key_is_exactly_256_bits(variables):
    variables("AIGATEWAY_ROOT_KEYS", f"1:{OTHER}")
    with pytest.raises(ConfigurationError, match="exactly 32"):
        environment().root_keyring()


def test_a_variable_may_be_a_file_but_not_both(variables, tmp_path):
    file = tmp_path / "secret"
    file.write_text("x" * 40 + "\n")
    variables("AIGATEWAY_SECRET_KEY_FILE", str(file))
    assert environment().secret_key.get_secret_value() == "x" * 40
    environment.cache_clear()
    variables("AIGATEWAY_SECRET_KEY", "y" * 40)
    with pytest.raises(ConfigurationError, match="both set"):
        environment()


def test_a_file_that_cannot_be_read_is_named(variables, tmp_path):
    variables("AIGATEWAY_PEPPERS_FILE", str(tmp_path / "nothing"))
    with pytest.raises(ConfigurationError, match=r"AIGATEWAY_PEPPERS_FILE.*cannot be read"):
        environment()


def test_a_wrong_value_names_its_variable_and_not_itself(variables):
    variables("AIGATEWAY_DATABASE_POOL", "canary-value")
    variables("AIGATEWAY_HTTPS", "perhaps")
    with pytest.raises(ConfigurationError) as refused:
        environment()
    assert "AIGATEWAY_DATABASE_POOL" in str(refused.value)
    assert "AIGATEWAY_HTTPS" in str(refused.value)
    assert "canary-value" not in str(refused.value)


def test_a_postgresql_url_becomes_djangos_settings(variables):
    variables("DATABASE_URL", "postgresql://user:p%40ss@db.example:6432/gateway?sslmode=verify-full")
    found = database_settings(environment())
    assert (found["USER"], found["PASSWORD"], found["HOST"], found["PORT"], found["NAME"]) == (
        "user",
        "p@ss",
        "db.example",
        "6432",
        "gateway",
    )
    assert found["CONN_HEALTH_CHECKS"] is True
    assert found["OPTIONS"]["sslmode"] == "verify-full"
    assert found["OPTIONS"]["pool"]["max_size"] == 10
    assert "options" not in found["OPTIONS"]  # poolers refuse them
    assert found["OPTIONS"]["waits"] == Waits(25_000)
    # Nothing that is gone is waited for until TCP gives up.
    assert {name: found["OPTIONS"][name] for name in NETWORK} == NETWORK
    assert (NETWORK["connect_timeout"], NETWORK["tcp_user_timeout"]) == ("5", "10000")


def test_a_postgresql_url_may_say_all_of_it_otherwise(variables):
    own = {"connect_timeout": "9", "keepalives": "0", "tcp_user_timeout": "500", "options": "-c search_path=gateway"}
    query = "&".join(f"{name}={value.replace(' ', '%20').replace('=', '%3D')}" for name, value in own.items())
    variables("DATABASE_URL", f"postgresql://user@db.example/gateway?{query}")
    variables("AIGATEWAY_STATEMENT_TIMEOUT_MS", "0")
    options = database_settings(environment())["OPTIONS"]
    assert own.items() <= options.items()
    assert options["keepalives_idle"] == "5"
    assert options["waits"].answer_s == float("inf")


def test_a_pooler_between_transactions_gets_no_cursors_and_listening_goes_another_way(variables):
    variables("DATABASE_URL", "postgresql://user@pooler/gateway")
    assert database_settings(environment())["DISABLE_SERVER_SIDE_CURSORS"] is False
    assert listen_settings(environment()) == {}
    environment.cache_clear()
    variables("AIGATEWAY_DATABASE_POOLING", "transaction")
    variables("AIGATEWAY_LISTEN_DATABASE_URL", "postgresql://user@db.example/gateway?keepalives_idle=60")
    assert database_settings(environment())["DISABLE_SERVER_SIDE_CURSORS"] is True
    own = listen_settings(environment())
    assert (own["host"], own["connect_timeout"], own["keepalives_idle"]) == ("db.example", "5", "60")
    environment.cache_clear()
    variables("AIGATEWAY_LISTEN_DATABASE_URL", "postgresql://[bad/canary")
    with pytest.raises(ConfigurationError, match="AIGATEWAY_LISTEN_DATABASE_URL") as refused:
        listen_settings(environment())
    assert "canary" not in str(refused.value)


@pytest.mark.parametrize(
    "url", ["mysql://x/y", "sqlite://host/x", "sqlite:///", "postgresql://user:canary@host", "postgresql://[bad/canary"]
)
def test_a_database_url_that_cannot_be_meant_is_refused_without_its_password(variables, url):
    variables("DATABASE_URL", url)
    with pytest.raises(ConfigurationError, match="DATABASE_URL") as refused:
        database_settings(environment())
    assert "canary" not in str(refused.value)


@pytest.mark.parametrize(
    ("hosts", "https", "on"),
    [
        ("127.0.0.1,localhost,[::1]", "auto", False),
        ("127.8.9.1", "auto", False),
        ("gateway.example.com", "auto", True),
        ("localhost,gateway.example.com", "auto", True),
        ("gateway.example.com", "off", False),
        ("localhost", "on", True),
    ],
)
def test_https_is_on_wherever_another_machine_can_come(variables, hosts, https, on):
    variables("AIGATEWAY_ALLOWED_HOSTS", hosts)
    variables("AIGATEWAY_HTTPS", https)
    assert environment().https_on is on


@pytest.mark.parametrize("secret", ["changeme", "x" * 40, "secret" * 10, "0123456789abcdef" + "0" * 15])
def test_a_signing_key_that_is_short_or_made_up_is_refused(variables, secret):
    variables("AIGATEWAY_SECRET_KEY", secret)
    variables("AIGATEWAY_ROOT_KEYS", f"1:{KEY}")
    variables("AIGATEWAY_PEPPERS", f"1:{KEY}")
    with pytest.raises(ConfigurationError, match="AIGATEWAY_SECRET_KEY") as refused:
        environment().demand_secrets()
    assert secret not in str(refused.value)


def test_debug_pages_are_for_loopback_only(variables):
    variables("AIGATEWAY_SECRET_KEY", "0123456789abcdef" * 3)
    variables("AIGATEWAY_ROOT_KEYS", f"1:{KEY}")
    variables("AIGATEWAY_PEPPERS", f"1:{KEY}")
    variables("AIGATEWAY_DEBUG", "true")
    environment().demand_secrets()
    environment.cache_clear()
    variables("AIGATEWAY_ALLOWED_HOSTS", "gateway.example.com")
    with pytest.raises(ConfigurationError, match="AIGATEWAY_DEBUG"):
        environment().demand_secrets()


def test_the_table_has_every_variable_with_its_meaning():
    table = render_table()
    for name, field in Environment.model_fields.items():
        assert re.search(rf"^\| `{variable_of(name)}` \|.*{re.escape(str(field.description))} \|$", table, re.M)
        assert field.description
        assert field.description.endswith((".", ")"))
    assert str(REPOSITORY) not in table


def test_secrets_do_not_show_themselves():
    shown = repr(Environment(secret_key=SecretStr("canary"), peppers=SecretStr("canary")))
    assert "canary" not in shown


@pytest.mark.parametrize(
    "program", ["import controlplane.asgi", "import manage; import sys; sys.argv=['manage.py','check']; manage.main()"]
)
def test_the_web_process_and_commands_refuse_to_start_without_secrets(program, tmp_path):
    clean = {name: value for name, value in os.environ.items() if not name.startswith("AIGATEWAY_")}
    clean |= {"DATABASE_URL": f"sqlite:///{tmp_path}/x.sqlite3", "DJANGO_SETTINGS_MODULE": "controlplane.settings"}
    run = subprocess.run(
        [sys.executable, "-c", program], cwd=REPOSITORY, env=clean, capture_output=True, text=True, check=False
    )
    assert run.returncode != 0
    assert "AIGATEWAY_ROOT_KEYS" in run.stderr


@pytest.mark.parametrize(
    ("url", "port", "ssl", "tls"),
    [
        ("smtps://ada%40x:p%2Fw@mail.example", 465, True, False),
        ("smtp+starttls://ada%40x:p%2Fw@mail.example:2587", 2587, False, True),
        ("smtp://ada%40x:p%2Fw@127.0.0.1:2525", 2525, False, False),
    ],
)
def test_the_mail_server_is_one_url(url, port, ssl, tls):
    settings = mail_settings(url)
    assert (settings["EMAIL_PORT"], settings["EMAIL_USE_SSL"], settings["EMAIL_USE_TLS"]) == (port, ssl, tls)
    assert (settings["EMAIL_HOST_USER"], settings["EMAIL_HOST_PASSWORD"]) == ("ada@x", "p/w")


@pytest.mark.parametrize(
    "url", ["mail.example", "http://mail.example", "smtp://", "smtp://a:hush@mail.example", "smtps://mail.example/x?y"]
)
def test_a_mail_server_that_cannot_be_used_is_named_without_its_password(url):
    with pytest.raises(ConfigurationError, match="AIGATEWAY_SMTP_URL") as refused:
        mail_settings(url)
    assert "hush" not in str(refused.value)


def test_without_a_mail_server_mail_goes_nowhere():
    assert mail_settings("")["EMAIL_BACKEND"].endswith("dummy.EmailBackend")


def test_proxies_are_trusted_on_this_machine_alone_unless_somebody_says_more(variables):
    assert [str(network) for network in environment().trusted_networks] == ["127.0.0.0/8", "::1/128"]
    environment.cache_clear()
    variables("AIGATEWAY_TRUSTED_PROXIES", "10.1.2.3, 192.168.0.0/24,fc00::/7, ::ffff:10.9.0.0/112")
    shown = [str(network) for network in environment().trusted_networks]
    assert shown == ["10.1.2.3/32", "192.168.0.0/24", "fc00::/7", "10.9.0.0/16"]
    environment.cache_clear()
    variables("AIGATEWAY_TRUSTED_PROXIES", "")
    assert environment().trusted_networks == ()


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ("lb.internal", "neither an address nor a network (a host name is neither)"),
        ("10.1.2.3,lb.internal", "'lb.internal'"),
        ("localhost", "loopback is 127.0.0.0/8,::1/128"),
        ("*", "everybody cannot be trusted"),
        ("0.0.0.0/0", "everybody in it could claim to be anybody"),
        ("::/0", "everybody in it could claim to be anybody"),
        ("0.0.0.0/1,128.0.0.0/1", "everybody in it could claim to be anybody"),
        ("::ffff:0:0/96", "everybody in it could claim to be anybody"),
        ("10.1.2.3/8", "say 10.0.0.0/8, or 10.1.2.3 for that one alone"),
        ("10.1.2.3:80", "neither an address nor a network"),
        ("[::1]", "neither an address nor a network"),
        ("10.1.2.0/33", "neither an address nor a network"),
        ("010.1.2.3", "neither an address nor a network"),
    ],
)
def test_proxies_that_nobody_can_mean_are_refused_in_words(variables, value, words):
    variables("AIGATEWAY_TRUSTED_PROXIES", value)
    with pytest.raises(ConfigurationError) as refused:
        environment()
    assert str(refused.value).startswith("AIGATEWAY_TRUSTED_PROXIES: ")
    assert words in str(refused.value)
