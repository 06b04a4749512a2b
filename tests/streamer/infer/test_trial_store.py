from __future__ import annotations

import json
import os
import pwd
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest

from streamer.infer import trial_store
from streamer.infer.trial_store import KEPT, LASTS, TrialStore, trial_key, user_store
from tests.streamer.models import tiny

TODAY = date(2026, 3, 1)
COSTS_MS = {"openvino int8": 9.5, "ort-cpu int8": 13.25}


def store(folder: Path, *, days_later: int = 0) -> TrialStore:
    path = folder / "deep" / "trials.json"
    return TrialStore(path, today=TODAY + timedelta(days=days_later))


def test_a_trial_is_found_again_fastest_first(tmp_path: Path) -> None:
    store(tmp_path).keep("key", dict(reversed(COSTS_MS.items())))
    remembered = store(tmp_path).recall("key")
    assert remembered is not None
    assert remembered.tried_on == TODAY
    assert list(remembered.costs_ms.items()) == list(COSTS_MS.items())
    assert store(tmp_path).recall("other") is None
    assert [path.name for path in (tmp_path / "deep").iterdir()] == ["trials.json"]


def test_processes_of_one_number_are_not_in_each_others_way(tmp_path: Path) -> None:
    """As those of two containers that share the cache folder."""
    others = tmp_path / "deep" / f"trials.json.{os.getpid()}.partial"
    others.parent.mkdir()
    others.write_text('{"half of', encoding="utf-8")
    store(tmp_path).keep("key", COSTS_MS)
    assert store(tmp_path).recall("key") is not None
    assert others.read_text(encoding="utf-8") == '{"half of'


@pytest.mark.parametrize("days_later", [0, LASTS.days])
def test_a_trial_lasts_a_month(days_later: int, tmp_path: Path) -> None:
    store(tmp_path).keep("key", COSTS_MS)
    assert store(tmp_path, days_later=days_later).recall("key") is not None


@pytest.mark.parametrize("days_later", [LASTS.days + 1, -1])
def test_a_trial_that_is_older_or_from_the_future_is_made_again(
    days_later: int, tmp_path: Path
) -> None:
    store(tmp_path).keep("key", COSTS_MS)
    assert store(tmp_path, days_later=days_later).recall("key") is None


def test_a_later_trial_replaces_the_earlier_one_and_no_other(tmp_path: Path) -> None:
    store(tmp_path).keep("key", {"a": 1.0})
    store(tmp_path).keep("other", {"a": 2.0})
    store(tmp_path, days_later=3).keep("key", {"a": 3.0})
    seen = [store(tmp_path, days_later=3).recall(key) for key in ("key", "other")]
    assert [one.costs_ms["a"] for one in seen if one is not None] == [3.0, 2.0]


def test_the_file_does_not_grow_for_ever(tmp_path: Path) -> None:
    for number in range(KEPT + 2):
        store(tmp_path).keep(f"key {number}", COSTS_MS)
    assert store(tmp_path).recall("key 1") is None
    assert store(tmp_path).recall("key 2") is not None


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        "null",
        '{"key": 3}',
        '{"key": {"tried_on": "2026-03-01"}}',
        '{"key": {"tried_on": "2026-03-01", "costs_ms": {}}}',
        '{"key": {"tried_on": "2026-03-01", "costs_ms": [9.5]}}',
        '{"key": {"tried_on": "2026-03-01", "costs_ms": {"a": -1}}}',
        '{"key": {"tried_on": "2026-03-01", "costs_ms": {"a": NaN}}}',
        '{"key": {"tried_on": "2026-03-01", "costs_ms": {"a": "soon"}}}',
        '{"key": {"tried_on": "yesterday", "costs_ms": {"a": 1}}}',
        '{"key": {"tried_on": 20260301, "costs_ms": {"a": 1}}}',
        '{"key": {"tried_on": "2026-03-01", "costs_ms": {"a": 1' + "0" * 400 + "}}}",
        "[" * 100_000,
        "\udcff",
    ],
    ids=lambda text: text[:60],
)
def test_a_damaged_file_is_as_good_as_none_and_is_written_anew(text: str, tmp_path: Path) -> None:
    path = tmp_path / "deep" / "trials.json"
    path.parent.mkdir()
    path.write_text(text, encoding="utf-8", errors="surrogateescape")
    assert store(tmp_path).recall("key") is None
    store(tmp_path).keep("key", COSTS_MS)
    assert store(tmp_path).recall("key") is not None


def test_where_nothing_can_be_written_nothing_is_kept(tmp_path: Path) -> None:
    (tmp_path / "deep").write_text("a file where the folder should be")
    store(tmp_path).keep("key", COSTS_MS)
    assert store(tmp_path).recall("key") is None


def test_where_the_file_cannot_be_replaced_nothing_is_left_behind(tmp_path: Path) -> None:
    (tmp_path / "deep" / "trials.json").mkdir(parents=True)
    store(tmp_path).keep("key", COSTS_MS)
    assert store(tmp_path).recall("key") is None
    assert [path.name for path in (tmp_path / "deep").iterdir()] == ["trials.json"]


def test_the_key_changes_with_all_that_a_trial_depends_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    manifest = tiny(tmp_path)
    models = {"ort-cpu fp32": manifest}
    keys = [
        trial_key(models),
        trial_key({"ort-cpu fp32": replace(manifest, sha256="ab")}),
        trial_key({"openvino fp32": manifest}),
        trial_key({**models, "openvino fp32": manifest}),
    ]
    changes: dict[str, Any] = {
        "_processor": lambda: ["another", "avx2"],
        "usable_cores": lambda: 97,
        "_version": lambda package: f"{package} of next year",
    }
    for name, changed in changes.items():
        with monkeypatch.context() as patch:
            patch.setattr(trial_store, name, changed)
            keys.append(trial_key(models))
    assert len(set(keys)) == 4 + len(changes)
    assert trial_key(models) == keys[0]


def test_trials_lie_in_the_users_cache_folder(
    tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert user_store().path == cache / "streamer" / "trials.json"
    monkeypatch.setenv("HOME", str(tmp_path))
    for unusable in ("", "relative/cache"):
        monkeypatch.setenv("XDG_CACHE_HOME", unusable)
        assert user_store().path == tmp_path / ".cache" / "streamer" / "trials.json"
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert user_store().path == tmp_path / ".cache" / "streamer" / "trials.json"


def test_a_user_without_a_home_keeps_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """As in a container that runs as a number nobody gave a name to."""

    def nobody(number: int) -> pwd.struct_passwd:
        raise KeyError(number)

    for name in ("HOME", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(pwd, "getpwuid", nobody)
    kept = user_store()
    kept.keep("key", COSTS_MS)
    assert kept.recall("key") is None


def test_the_file_is_json_that_a_person_can_read(tmp_path: Path) -> None:
    kept = store(tmp_path)
    kept.keep("key", COSTS_MS)
    assert json.loads(kept.path.read_text()) == {
        "key": {"tried_on": "2026-03-01", "costs_ms": COSTS_MS}
    }
