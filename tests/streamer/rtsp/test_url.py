import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamer.errors import ConfigError
from streamer.rtsp.url import Credentials, parse_url, resolve_control


@pytest.mark.parametrize(
    ("text", "user", "password", "host", "port", "request_url"),
    [
        ("rtsp://cam/a", None, None, "cam", 554, "rtsp://cam/a"),
        ("RTSPS://cam", None, None, "cam", 322, "rtsps://cam"),
        ("rtsp://u:p@cam:8554/a?b=1", "u", "p", "cam", 8554, "rtsp://cam:8554/a?b=1"),
        ("rtsp://u@cam/a", "u", "", "cam", 554, "rtsp://cam/a"),
        ("rtsp://u:p@ss@cam/a", "u", "p@ss", "cam", 554, "rtsp://cam/a"),
        ("rtsp://u:p/ss@cam:99/a", "u", "p/ss", "cam", 99, "rtsp://cam:99/a"),
        ("rtsp://u:p@/:w@cam:99/a", "u", "p@/:w", "cam", 99, "rtsp://cam:99/a"),
        ("rtsp://u:p:q?r#s@cam/a", "u", "p:q?r#s", "cam", 554, "rtsp://cam/a"),
        ("rtsp://u:p%40%2F%3a%25@cam/a", "u", "p@/:%", "cam", 554, "rtsp://cam/a"),
        ("rtsp://u:50%@cam/a", "u", "50%", "cam", 554, "rtsp://cam/a"),
        ("rtsp://u:p@[::1]:8554/a", "u", "p", "::1", 8554, "rtsp://[::1]:8554/a"),
        ("rtsp://[fe80::1%25eth0]/a", None, None, "fe80::1%eth0", 554, "rtsp://[fe80::1%25eth0]/a"),
        ("rtsp://cam/mail@home", None, None, "cam", 554, "rtsp://cam/mail@home"),
        ("rtsp://u:p@cam/mail@home", "u", "p", "cam", 554, "rtsp://cam/mail@home"),
        ("rtsp://cam/a?x=1&transport=udp&y=%20", None, None, "cam", 554, "rtsp://cam/a?x=1&y=%20"),
        ("rtsp://cam/a?transport=tcp", None, None, "cam", 554, "rtsp://cam/a"),
    ],
)
def test_an_address_is_taken_apart(
    text: str, user: str | None, password: str | None, host: str, port: int, request_url: str
) -> None:
    url = parse_url(text)
    expected = None if user is None or password is None else Credentials(user, password)
    assert (url.credentials, url.host, url.port) == (expected, host, port)
    assert url.request_url == request_url


@pytest.mark.parametrize(
    "text",
    [
        "http://cam/a",
        "cam/a",
        "rtsp://",
        "rtsp:///a",
        "rtsp://cam:0/a",
        "rtsp://cam:70000/a",
        "rtsp://[::1/secret",
        "rtsp://u:secret@/a",
        "rtsp://u:secret word@cam/a",
        "rtsp://u:secret@cam/a\r\nInjected: 1",
        "rtsp://u:secret@cam/a?transport=secret",
        "rtsp://u:secret@cam/a?tls=",
        "rtsps://u:secret@cam/a?transport=udp",
    ],
)
def test_what_is_no_address_is_refused_without_showing_it(text: str) -> None:
    with pytest.raises(ConfigError) as refusal:
        parse_url(text)
    assert "secret" not in str(refusal.value)


def test_our_own_parameters_are_read_and_not_sent() -> None:
    url = parse_url("rtsps://cam/a?tls=insecure&transport=tcp")
    assert (url.checks_certificate, url.transport, url.is_tls) == (False, "tcp", True)
    assert url.request_url == "rtsps://cam/a"
    plain = parse_url("rtsp://cam/a")
    assert (plain.checks_certificate, plain.transport) == (True, None)


@pytest.mark.parametrize(
    ("text", "label"),
    [
        ("rtsp://u:secret@cam:554/a/b?token=secret", "rtsp://cam:554/a/b"),
        ("rtsp://cam/user=admin_password=secret_channel=1.sdp", "rtsp://cam/***"),
        ("rtsp://u:x@y/secret@cam/a", "rtsp://***"),
    ],
)
def test_messages_show_no_secret(text: str, label: str) -> None:
    url = parse_url(text)
    assert url.label == label
    assert "secret" not in repr(url)


PASSWORDS = st.text(st.characters(min_codepoint=33, max_codepoint=0x24F), max_size=20)


@given(PASSWORDS, PASSWORDS.filter(bool))
def test_encoded_credentials_come_back_and_never_show(password: str, user: str) -> None:
    original = parse_url("rtsp://cam/live")
    secret = type(original)(
        is_tls=False,
        host="cam",
        port=554,
        request_url=original.request_url,
        label=original.label,
        credentials=Credentials(user, password),
    ).secret_url()
    back = parse_url(secret)
    assert back.credentials == Credentials(user, password)
    assert (back.request_url, back.label) == (original.request_url, original.label)


@given(st.text(max_size=100))
def test_any_text_is_an_address_or_a_config_error(text: str) -> None:
    for candidate in (text, f"rtsp://{text}", f"rtsp://u:{text}@cam/a"):
        try:
            url = parse_url(candidate)
        except ConfigError:
            continue
        assert not set("\r\n \0") & set(url.request_url)
        assert 0 < url.port < 65536


@pytest.mark.parametrize(
    ("base", "control", "url"),
    [
        ("rtsp://c/a/", "track1", "rtsp://c/a/track1"),
        ("rtsp://c/a", "track1", "rtsp://c/a/track1"),
        ("rtsp://c/a?x=1", "track1", "rtsp://c/a?x=1/track1"),
        ("rtsp://c/a/", "/track1", "rtsp://c/a/track1"),
        ("rtsp://c/a", "?track=1", "rtsp://c/a?track=1"),
        ("rtsp://c/a", "rtsp://d/b", "rtsp://d/b"),
        ("rtsp://c/a", "*", "rtsp://c/a"),
        ("rtsp://c/a", "", "rtsp://c/a"),
    ],
)
def test_a_control_is_resolved_as_servers_mean_it(base: str, control: str, url: str) -> None:
    assert resolve_control(base, control) == url
