# Copyright: (c) 2026, The edge.rack engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Waves by the site's policy: what a device keeps, by the history alone; no clock but the test's."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest
from released_device import PACKAGE

sys.path.insert(0, str(PACKAGE))

from edge_trust import waves

POLICY = waves.Policy.parse(
    {"canaries": "canaries", "wave_size": "50%", "pause_seconds": 100}
)  # three waves: 0, 100, 200
RACK = [f"nuc-{number:03}" for number in range(1000)]


def release(name: str) -> dict[str, Any]:
    return {"name": name, "images": {"predictor": {"tag": name, "digest": f"sha256:{name * 64}"}}}


def history(*commits: tuple[str, float]) -> list[tuple[dict[str, Any], float]]:
    """Given as they were made, the oldest first."""
    return [(release(name), time) for name, time in reversed(commits)]


def planned(to: str, before: str, opened: int, **more: Any) -> dict[str, Any]:
    return {"to": release(to), "before": release(before), "waves": [["a"], ["b"]], "open": opened, **more}


@pytest.mark.parametrize(
    ("commits", "now", "before", "since"),
    [
        pytest.param([], 10, None, 0, id="nothing released yet"),
        pytest.param([("1", 0)], 10, None, 0, id="first release ever"),
        pytest.param([("1", 0), ("2", 1000)], 1199, "1", 1000, id="on its way"),
        pytest.param([("1", 0), ("2", 1000)], 1200, None, 0, id="all waves open"),
        pytest.param([("1", 0), ("2", 1000), ("2", 1150)], 1199, "1", 1000, id="other changes start no clock anew"),
        pytest.param([("1", 0), ("2", 1000), ("2", 1150)], 1201, None, 0, id="nor do they later"),
        pytest.param([("1", 0), ("2", 1000), ("3", 1100)], 1150, "1", 1100, id="twice within the pause"),
        pytest.param([("1", 0), ("2", 1000), ("3", 1200)], 1250, "2", 1200, id="the one before was out"),
        pytest.param([("1", 0), ("2", 1000), ("1", 1100)], 1101, None, 0, id="taken back on its way: at once"),
        pytest.param([("1", 0), ("2", 1000), ("1", 1500)], 1501, "2", 1500, id="back from one that was out: in waves"),
        pytest.param(
            [("1", 0), ("2", 1000), ("1", 1100), ("3", 1150)], 1151, "1", 1150, id="mended after it was taken back"
        ),
        pytest.param([("1", 0), ("2", 9999)], 1000, "1", 9999, id="a device whose clock is behind waits"),
    ],
)
def test_what_devices_keep(commits: list[tuple[str, float]], now: float, before: str | None, since: float) -> None:
    found = waves.rollout(history(*commits), POLICY, now)
    if before is None:
        assert found is None
    else:
        assert found
        assert (found.to["name"], found.before["name"], found.since) == (commits[-1][0], before, since)


@pytest.mark.parametrize(
    ("rollout", "before"),
    [
        (planned("2", "1", 2), "2"),
        (planned("2", "1", 1), "1"),
        (planned("2", "1", 1, opens=["1970-01-01T00:00:00Z", "1970-01-01T00:16:45Z"]), "2"),  # 1005 s
        (planned("2", "1", 1, opens=["1970-01-01T00:00:00Z", "2999-01-01T00:00:00Z"]), "1"),
        (planned("0", "1", 1), "1"),
    ],
)
def test_of_a_release_of_the_playbook_its_own_rollout_says_whether_it_was_out(
    rollout: dict[str, Any], before: str
) -> None:
    found = waves.rollout(history(("1", 0), ("2", 1000), ("3", 1010)), POLICY, 1011, rollout)
    assert found
    assert found.before["name"] == before


def test_no_more_commits_are_read_than_it_takes() -> None:
    def commits() -> Iterator[tuple[dict[str, Any], float]]:
        yield release("2"), 1000
        yield release("2"), 700
        pytest.fail("read on")

    assert waves.rollout(commits(), POLICY, 1001) is None


def test_every_device_is_in_one_wave_and_stays_there() -> None:
    policy = waves.Policy.parse({"canaries": ["nuc-007"], "wave_size": "30%", "pause_seconds": 60})
    assert (policy.waves, policy.seconds) == (5, 240)
    found = Counter(policy.wave(device, ["devices"]) for device in RACK)
    assert found[1] == 1
    assert sorted(found) == [1, 2, 3, 4, 5]
    assert all(250 < found[wave] < 350 for wave in (2, 3, 4))
    assert 70 < found[5] < 130
    assert policy.opens(1, 1000) <= 0  # whatever the clock says
    assert policy.opens(3, 1000) == 1120


def test_canaries_are_a_group_too_and_may_be_none() -> None:
    assert POLICY.wave("nuc-001", ["devices", "canaries"]) == 1
    assert POLICY.wave("nuc-001", ["devices"]) > 1
    nobody = waves.Policy.parse({"wave_size": "100%", "pause_seconds": 60})
    assert (nobody.waves, nobody.wave("nuc-001", [])) == (1, 1)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ([], "it is not a mapping of canaries, wave_size, pause_seconds"),
        ({"pause_seconds": 60, "size": 1}, "it is not a mapping of"),
        ({"pause_seconds": 60, "canaries": 1}, "a number is none, for no device knows the others"),
        ({"pause_seconds": 60, "wave_size": 5}, "wave_size is 5, not a share"),
        ({"pause_seconds": 60, "wave_size": "0%"}, "wave_size is '0%'"),
        ({}, "pause_seconds is None"),
        ({"pause_seconds": True}, "pause_seconds is True"),
        ({"pause_seconds": "{{ an_hour }}"}, "pause_seconds is '{{ an_hour }}'"),
    ],
)
def test_a_policy_that_makes_no_sense_is_refused_by_its_field(given: Any, said: str) -> None:
    with pytest.raises(waves.PolicyError, match=said):
        waves.Policy.parse(given)


def test_a_release_that_is_not_whole_is_none_to_keep() -> None:
    assert waves.names_digests(release("1"))
    assert not waves.names_digests({"images": {"predictor": {"tag": "1"}}})
    assert not waves.names_digests({**release("1"), "model": {"digest": "latest"}})
    assert not waves.names_digests({})
