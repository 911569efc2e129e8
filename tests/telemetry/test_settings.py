"""The environment of a pod: what it means, what is refused, and with which words."""

import os

import pytest

from dataplane.core.endpoints import HostPort, Reachable
from dataplane.settings import SettingsError, effective, load, render_table


@pytest.fixture(autouse=True)
def environment(monkeypatch):
    for name in [name for name in os.environ if name.startswith("AIGATEWAY_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("AIGATEWAY_FLEET_INSECURE", "true")
    return lambda **variables: [
        monkeypatch.setenv(f"AIGATEWAY_{name}", str(value)) for name, value in variables.items()
    ]


@pytest.fixture
def refused():
    def sentence() -> str:
        with pytest.raises(SettingsError) as caught:
            load()
        return "\n".join(caught.value.problems)

    return sentence


@pytest.fixture
def pem(tmp_path):
    path = tmp_path / "file.pem"
    path.write_text("-----BEGIN CERTIFICATE-----")
    return path


def test_a_pod_listens_on_loopback_unless_told_otherwise():
    settings = load()
    assert settings.listen_address == HostPort("127.0.0.1", 5563)
    assert settings.listen_address.loopback
    assert settings.pod_address == "127.0.0.1:5563"


def test_a_value_may_come_from_a_file(environment, tmp_path):
    (tmp_path / "headers").write_text("authorization=Bearer%20abc\n")
    environment(OTLP_HEADERS_FILE=tmp_path / "headers")
    assert load().otlp_headers.get_secret_value() == "authorization=Bearer%20abc"


def test_a_value_and_its_file_contradict_each_other(environment, refused, pem):
    environment(LOG_LEVEL="info", LOG_LEVEL_FILE=pem)
    assert refused() == "AIGATEWAY_LOG_LEVEL and AIGATEWAY_LOG_LEVEL_FILE are both set: keep one of them"


def test_a_file_that_is_missing_is_named(environment, refused):
    environment(LOG_LEVEL_FILE="/nowhere/level")
    assert refused() == "AIGATEWAY_LOG_LEVEL_FILE names /nowhere/level, which cannot be read: No such file or directory"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(("LISTEN", text) for text in ("5563", "host", ":5563", "host:", "host:99999", "host:-1", "host:1٣")),
        *(("FLEET", text) for text in ("a:1,", "nowhere")),
        *(("LOG_LEVEL", "loud"), ("EXCHANGES", "0"), ("CONNECT_S", "soon"), ("OTLP_ENDPOINT", "collector:4318")),
        *(
            ("STARTUP_REACH", text)
            for text in (
                *("nowhere", "a:1,", "ftp://a:1", "https://", "http://user@host/", "host:0", "169.254.169.254:80"),
                *("0x7f.1:80", "https://2130706433/", "a_:1", "host:99999", "https://a:99999"),
            )
        ),
        *(("OPERATORS", text) for text in ("10.0.0.1/8", "everywhere", "10.0.0.0/8,")),
        *(("COMMIT", text) for text in ("a b", "a\u00e9", "-a", "a" * 41, "a\n")),
        *(("SPOOL_BYTES", "12"), ("LISTEN_CERT", "/nowhere.pem"), ("FLEET_INSECURE", "perhaps")),
    ],
)
def test_a_value_that_makes_no_sense_is_refused_by_the_name_of_its_variable(environment, refused, name, value):
    environment(**{name: value})
    assert f"AIGATEWAY_{name} " in refused()


def test_all_problems_are_told_at_once(environment, refused):
    environment(LISTEN="nowhere", LOG_LEVEL="loud")
    assert "AIGATEWAY_LISTEN " in refused()
    assert "AIGATEWAY_LOG_LEVEL " in refused()


@pytest.mark.parametrize("address", ["0.0.0.0:5563", "[::]:5563", "10.0.0.1:1", "pod.example:5563"])
def test_beyond_loopback_clients_need_tls_or_a_word_that_somebody_else_has_it(environment, refused, pem, address):
    environment(LISTEN=address)
    assert "AIGATEWAY_LISTEN_PLAINTEXT=true" in refused()
    environment(LISTEN_PLAINTEXT="true")
    assert load().listen == address
    environment(LISTEN_PLAINTEXT="false", LISTEN_CERT=pem, LISTEN_KEY=pem)
    assert load().listen_cert == pem


def test_what_has_to_be_reached_is_an_address_or_a_url(environment):
    assert load().to_be_reached == []
    environment(STARTUP_REACH="api.anthropic.com:443, https://API.openai.com/v1?x#y, http://[::1]:8080,10.0.0.1:5432")
    settings = load()
    assert settings.startup_reach == (
        "api.anthropic.com:443,https://api.openai.com:443,http://[::1]:8080,10.0.0.1:5432"
    )
    assert settings.to_be_reached == [
        Reachable("tcp", "api.anthropic.com", 443), Reachable("https", "api.openai.com", 443),
        Reachable("http", "::1", 8080), Reachable("tcp", "10.0.0.1", 5432),
    ]  # fmt: skip


def test_operators_are_on_this_machine_unless_told_otherwise(environment):
    assert [str(network) for network in load().operator_networks] == ["127.0.0.0/8", "::1/128"]
    environment(OPERATORS="10.0.0.0/8, fd00::/8")
    assert [str(network) for network in load().operator_networks] == ["10.0.0.0/8", "fd00::/8"]


def test_half_a_certificate_is_refused(environment, refused, pem):
    environment(LISTEN_CERT=pem)
    assert "AIGATEWAY_LISTEN_KEY" in refused()
    environment(FLEET_CA=pem)
    assert "set all three" in refused()


def test_a_fleet_beyond_loopback_needs_mutual_tls_whatever_is_allowed_on_loopback(environment, refused, pem):
    environment(FLEET="127.0.0.1:5561,fleet.example:5561")
    assert "not on loopback, without TLS" in refused()
    environment(FLEET_CA=pem, FLEET_CERT=pem, FLEET_KEY=pem)
    assert [address.host for address in load().fleet_addresses] == ["127.0.0.1", "fleet.example"]


def test_even_on_loopback_an_unprotected_fleet_must_be_asked_for(environment, refused):
    environment(FLEET_INSECURE="false")
    assert "AIGATEWAY_FLEET_INSECURE=true" in refused()


def test_settings_do_not_change_and_hide_their_secrets(environment):
    environment(OTLP_HEADERS="authorization=canary")
    settings = load()
    with pytest.raises(ValueError, match="frozen"):
        settings.exchanges = 1
    assert "canary" not in repr(settings) + str(effective(settings))
    assert effective(settings)["AIGATEWAY_LISTEN"] == "127.0.0.1:5563"


def test_a_secret_is_not_repeated_in_the_refusal_of_another_setting(environment, refused):
    environment(OTLP_HEADERS="authorization=canary", LOG_LEVEL="loud")
    assert "canary" not in refused()


def test_the_table_of_the_documentation_names_every_setting_with_its_meaning():
    rows = render_table().splitlines()[2:]
    assert [row.split("`")[1] for row in rows] == list(effective(load()))
    assert all(len(row.split("|")[4].strip()) > 15 for row in rows)
