import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamer.clock import ManualClock
from streamer.rtsp.auth import (
    ClientAuth,
    DigestAlgorithm,
    ServerAuth,
    Verdict,
    parse_challenges,
    parse_parameters,
)
from streamer.rtsp.url import Credentials

URL = "rtsp://camera/live/track1"
RIGHT = Credentials("admin", 'pa"ss\\wört:@/')


def server(clock: ManualClock, *algorithms: DigestAlgorithm) -> ServerAuth:
    return ServerAuth({RIGHT.user: RIGHT.password}, clock=clock, algorithms=algorithms)


def asked(auth: ServerAuth, credentials: Credentials, method: str = "PLAY") -> Verdict:
    client = ClientAuth(credentials)
    assert client.take_challenge(auth.challenges())
    return auth.check(client.authorization(method, URL), method="PLAY", url=URL)


@pytest.mark.parametrize("algorithm", ["MD5", "MD5-sess", "SHA-256", "SHA-256-sess"])
def test_our_client_and_our_server_agree_on_every_digest(algorithm: DigestAlgorithm) -> None:
    auth = server(ManualClock(), algorithm)
    assert asked(auth, RIGHT) is Verdict.GRANTED
    assert asked(auth, Credentials("admin", "wrong")) is Verdict.DENIED
    assert asked(auth, Credentials("root", RIGHT.password)) is Verdict.DENIED
    assert asked(auth, RIGHT, method="TEARDOWN") is Verdict.DENIED


def test_our_client_speaks_basic_and_our_server_does_not() -> None:
    client = ClientAuth(RIGHT)
    assert client.take_challenge(['Basic realm="streamer"'])
    answer = client.authorization("PLAY", URL)
    pair = f"{RIGHT.user}:{RIGHT.password}".encode()
    assert answer == "Basic " + base64.b64encode(pair).decode()
    assert server(ManualClock(), "MD5").check(answer, method="PLAY", url=URL) is Verdict.DENIED


def test_the_example_of_rfc_2617_gives_its_response() -> None:
    client = ClientAuth(Credentials("Mufasa", "Circle Of Life"))
    client.take_challenge(
        ['Digest realm="testrealm@host.com", nonce="dcd98b7102dd2f0e8b11d0f600bfb0c093"']
    )
    answer = client.authorization("GET", "/dir/index.html")
    assert answer is not None
    # RFC 2069's form of the same request, computed with md5sum.
    assert parse_parameters(answer)["response"] == "670fd8c2df070c60b045671b8b24ff02"


def test_the_strongest_challenge_is_answered() -> None:
    several = (
        'Basic realm="a", Digest realm="a", nonce="1", Digest realm="a", nonce="2", '
        'algorithm=SHA-256, qop="auth,auth-int", Digest realm=x, nonce=3, algorithm=SHA-512-256'
    )
    other = 'Digest realm="Basic realm=x, Digest y", nonce="4", algorithm=MD5-sess, qop=auth-int'
    found = parse_challenges([several, other])
    assert [(c.scheme, c.algorithm, c.nonce, c.qop) for c in found] == [
        ("digest", "SHA-256", "2", "auth"),
        ("digest", "MD5", "1", None),
        ("basic", "MD5", "", None),
    ]


def test_a_stale_nonce_is_answered_again_and_a_refusal_is_not() -> None:
    clock = ManualClock()
    auth = server(clock, "SHA-256")
    client = ClientAuth(RIGHT)
    assert client.take_challenge(auth.challenges())
    old = client.authorization("PLAY", URL)
    assert auth.check(old, method="PLAY", url=URL) is Verdict.GRANTED
    clock.advance_ms(301_000)
    assert auth.check(old, method="PLAY", url=URL) is Verdict.STALE
    assert client.take_challenge(auth.challenges(is_stale=True))
    again = client.authorization("PLAY", URL)
    assert auth.check(again, method="PLAY", url=URL) is Verdict.GRANTED
    assert not client.take_challenge(auth.challenges())


def test_a_new_nonce_after_an_accepted_answer_is_answered_once_without_the_word_stale() -> None:
    client = ClientAuth(RIGHT)
    assert client.take_challenge(['Digest realm="c", nonce="1"'])
    client.accepted()
    assert client.take_challenge(['Digest realm="c", nonce="2"'])
    assert not client.take_challenge(['Digest realm="c", nonce="3"'])


def test_without_a_password_or_a_known_scheme_there_is_no_answer() -> None:
    assert not ClientAuth(None).take_challenge(['Digest realm="c", nonce="1"'])
    assert not ClientAuth(RIGHT).take_challenge(["Negotiate", 'Bearer realm="x"'])
    assert ClientAuth(RIGHT).authorization("PLAY", URL) is None


def test_a_nonce_of_another_server_is_denied() -> None:
    clock = ManualClock()
    client = ClientAuth(RIGHT)
    client.take_challenge(server(clock, "MD5").challenges())
    answer = client.authorization("PLAY", URL)
    assert server(clock, "MD5").check(answer, method="PLAY", url=URL) is Verdict.DENIED


@pytest.mark.parametrize(
    ("signed", "expected"),
    [
        (URL, Verdict.GRANTED),
        ("rtsp://camera/live", Verdict.GRANTED),
        ("rtsp://camera/live/", Verdict.GRANTED),
        ("/live/track1", Verdict.GRANTED),
        ("rtsp://camera/liv", Verdict.DENIED),
        ("rtsp://camera/other", Verdict.DENIED),
        ("", Verdict.DENIED),
    ],
)
def test_a_digest_holds_for_the_url_it_signs_and_what_lies_below(
    signed: str, expected: Verdict
) -> None:
    auth = server(ManualClock(), "MD5")
    client = ClientAuth(RIGHT)
    client.take_challenge(auth.challenges())
    answer = client.authorization("SETUP", signed)
    verdict = auth.check(answer, method="SETUP", url=URL)
    assert verdict is expected


def test_no_password_shows_in_a_repr() -> None:
    assert "ss" not in repr(RIGHT).replace("class", "")


@given(st.text(max_size=200))
def test_any_challenge_is_understood_or_left_out(value: str) -> None:
    for challenge in parse_challenges([value, f"Digest {value}", f"Basic {value}"]):
        assert challenge.scheme in ("basic", "digest")
    client = ClientAuth(RIGHT)
    if client.take_challenge([f"Digest {value}"]):
        client.authorization("PLAY", URL)


@given(st.text(max_size=200))
def test_no_text_is_taken_for_an_authorization(value: str) -> None:
    auth = ServerAuth({RIGHT.user: RIGHT.password}, clock=ManualClock())
    for text in (value, f"Digest {value}", f"Basic {value}"):
        verdict = auth.check(text, method="PLAY", url=URL)
        assert verdict in (Verdict.DENIED, Verdict.MISSING)
