from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamer.clock import ManualClock
from streamer.rtsp.auth import ClientAuth, ServerAuth, Verdict
from streamer.rtsp.url import Credentials

URL = "rtsp://127.0.0.1/cam"
USERS = {"ann": "correct horse", 'b"o,b': "p@ss:word"}


def answer(auth: ServerAuth, user: str, password: str) -> str:
    """What a client says to the challenge for DESCRIBE."""
    client = ClientAuth(Credentials(user, password))
    client.take_challenge(auth.challenges())
    return client.authorization("DESCRIBE", URL) or ""


def check(
    auth: ServerAuth, authorization: str, *, method: str = "DESCRIBE", url: str = URL
) -> Verdict:
    return auth.check(authorization, method=method, url=url)


@pytest.mark.parametrize("user", list(USERS))
def test_each_user_has_a_password_of_their_own(user: str) -> None:
    auth = ServerAuth(USERS, clock=ManualClock())
    assert check(auth, answer(auth, user, USERS[user])) is Verdict.GRANTED
    (other,) = set(USERS) - {user}
    assert check(auth, answer(auth, user, USERS[other])) is Verdict.DENIED
    assert check(auth, answer(auth, "nobody", USERS[user])) is Verdict.DENIED
    assert check(auth, answer(auth, "", "")) is Verdict.DENIED


def test_an_answer_holds_for_its_url_and_for_some_minutes() -> None:
    clock = ManualClock()
    auth = ServerAuth(USERS, clock=clock)
    right = answer(auth, "ann", USERS["ann"])
    assert check(auth, right, url=URL + "2") is Verdict.DENIED
    assert check(auth, right, method="PLAY") is Verdict.DENIED
    clock.advance_ms(3_600_000)
    assert check(auth, right) is Verdict.STALE
    assert all("stale=true" in value for value in auth.challenges(is_stale=True))


def test_another_server_s_challenge_is_worth_nothing() -> None:
    theirs, ours = (ServerAuth(USERS, clock=ManualClock()) for _ in range(2))
    assert check(ours, answer(theirs, "ann", USERS["ann"])) is Verdict.DENIED


@given(st.text(max_size=200))
def test_no_header_gets_in_by_accident(authorization: str) -> None:
    auth = ServerAuth(USERS, clock=ManualClock())
    seen = check(auth, authorization)
    assert seen in (Verdict.DENIED, Verdict.MISSING)


@given(st.text(max_size=60))
def test_no_digest_gets_in_by_accident(text: str) -> None:
    auth = ServerAuth(USERS, clock=ManualClock())
    header = f'Digest username="ann", realm="streamer", nonce="{text}", uri="{URL}", response="0"'
    assert check(auth, header) is (Verdict.DENIED)
