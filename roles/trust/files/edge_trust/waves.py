# Copyright: (c) 2026, The edge.rack engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A release that was committed by hand goes out in waves, too: by the site's policy and the times of its commits.

No device knows the others, so each works out its own wave from its name and its groups.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

FIELDS = ("canaries", "wave_size", "pause_seconds")
DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
Given = Mapping[str, Any]


class PolicyError(ValueError):
    """The policy makes no sense; the text names the field."""


@dataclass(frozen=True)
class Policy:
    canaries: str | list[str]
    """A group, or names of devices."""
    wave_percent: int
    pause_seconds: int

    @classmethod
    def parse(cls, given: object) -> Policy:
        """As it stands in the file; PolicyError where a field is missing, wrong, or none."""
        if not isinstance(given, dict) or set(given) - set(FIELDS):
            raise PolicyError(f"it is not a mapping of {', '.join(FIELDS)}")
        canaries = given.get("canaries", [])
        if not isinstance(canaries, str) and not (
            isinstance(canaries, list) and all(isinstance(name, str) for name in canaries)
        ):
            raise PolicyError(
                f"canaries is {canaries!r}, neither a group nor a list of devices; a number is none, for no device "
                "knows the others"
            )
        size, pause = given.get("wave_size", "25%"), given.get("pause_seconds")
        share = re.fullmatch(r"([1-9]\d?|100)%", str(size))
        if not share:
            raise PolicyError(f"wave_size is {size!r}, not a share of the devices such as 25%")
        if not isinstance(pause, int) or isinstance(pause, bool) or pause < 1:
            raise PolicyError(f"pause_seconds is {pause!r}, not a number of seconds")
        return cls(canaries, int(share[1]), pause)

    @property
    def waves(self) -> int:
        """How many there are, that of the canaries among them."""
        return bool(self.canaries) + -(-100 // self.wave_percent)

    @property
    def seconds(self) -> int:
        """From the first wave to the last."""
        return (self.waves - 1) * self.pause_seconds

    def opens(self, wave: int, since: float) -> float:
        """When the wave of a release may take it, which was committed then; the first one may at once."""
        return since + (wave - 1) * self.pause_seconds if wave > 1 else 0

    def wave(self, device: str, groups: Collection[str]) -> int:
        """That of a device, from 1; the same for each release."""
        if self.canaries in groups if isinstance(self.canaries, str) else device in self.canaries:
            return 1
        spot = int.from_bytes(hashlib.sha256(device.encode()).digest()[:8], "big") * 100 >> 64
        return bool(self.canaries) + 1 + spot // self.wave_percent


@dataclass(frozen=True)
class Rollout:
    """A release of which waves may be closed."""

    to: Given
    before: Given
    """What devices keep until their wave is open."""
    since: float
    """When the release was committed."""


def rollout(
    commits: Iterable[tuple[Given, float]], policy: Policy, now: float, planned: Given | None = None
) -> Rollout | None:
    """The newest release while its last wave is closed; None once all are open, or where it is the first release.

    `commits` are releases with the times of their commits, the newest first. What devices keep is the last release
    whose own waves were all open when the next one came: one that was on its way is not known to be good, and one that
    was taken back must not come again. `planned` is edge_rollout as the newest commit has it, which says it of its own
    release. No more commits are read than that takes.
    """
    walk = iter(commits)
    newest = next(walk, None)
    if not newest:
        return None
    to, since = newest
    release, came, end = to, since, now
    while came + policy.seconds > end:
        earlier, time = next(walk, (None, 0.0))
        if earlier is None:
            break
        if earlier == release:
            came = time
            continue
        if release is to:
            since = came
        if planned and earlier == planned.get("to"):
            release = earlier if is_out(planned, came) else planned.get("before") or earlier
            break
        release, came, end = earlier, time, came
    # The one that it came from is this very release: taken back before its last wave.
    return Rollout(to, release, since) if release != to else None


def is_out(planned: Given, now: float) -> bool:
    """Whether all waves of an edge_rollout are open, by their number or by the clock."""
    last = (planned.get("opens") or [""])[-1]
    return len(planned["waves"]) <= int(planned["open"]) or bool(last and _seconds(last) <= now)


def names_digests(release: Given) -> bool:
    """Whether a device can run it: one that names a tag alone was committed before it was whole."""
    images = release.get("images")
    if not isinstance(images, dict) or not images:
        return False
    model = release.get("model") or {}
    parts = [*images.values(), *([model] if isinstance(model, dict) and model.get("digest") is not None else [])]
    return all(isinstance(part, dict) and DIGEST.fullmatch(str(part.get("digest"))) for part in parts)


def _seconds(time: object) -> float:
    """RFC 3339, such as 2026-12-01T02:00:00Z."""
    return datetime.fromisoformat(str(time).replace("Z", "+00:00")).timestamp()
