"""site.yml on the lab, as anyone would run it, watched for how long each of its seven verbs takes."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from dataclasses import dataclass, field

from lab.settings import CHECKOUT, LabError, Settings

VERBS = ("hypervisor", "services", "images", "enroll", "configure", "train", "serve")
_PLAY = re.compile(r"PLAY \[(\w+)")
_RECAP = re.compile(r"^(\S+)\s+: ok=\d+\s+changed=(\d+)\s+unreachable=(\d+)\s+failed=(\d+)")
_COLOUR = re.compile(r"\x1b\[[0-9;]*m")


@dataclass
class SiteRun:
    """What a run of site.yml did: changed tasks over all hosts, seconds per verb."""

    changed: int = 0
    phases: dict[str, float] = field(default_factory=dict)


class Watch:
    """Reads what ansible prints, line by line without colours: which verb runs, for how long, and what changed."""

    def __init__(self, now: float) -> None:
        self.result = SiteRun()
        self.verb = ""
        self._begin = now

    def line(self, text: str, now: float) -> None:
        play = _PLAY.match(text)
        if (play and play[1].lower() in VERBS) or text.startswith("PLAY RECAP"):
            if self.verb:
                self.result.phases[self.verb] = round(self.result.phases.get(self.verb, 0.0) + now - self._begin, 1)
            self._begin = now
            if play:  # the last verb keeps its name beyond the recap: a failure is its failure
                self.verb = play[1].lower()
        if recap := _RECAP.match(text):
            self.result.changed += int(recap[2])


def environment(settings: Settings) -> dict[str, str]:
    """What the lab's inventory reads: the same variables that were given to `make lab`."""
    return {
        "LAB_NAME": settings.name,
        "LAB_SUBNET": str(settings.subnet),
        "LAB_STATE": str(settings.state),
        # What the recap and the phases are read from must not depend on the person's own settings.
        "ANSIBLE_CONFIG": str(CHECKOUT / "ansible.cfg"),
        "ANSIBLE_STDOUT_CALLBACK": "ansible.builtin.default",
        "LC_ALL": "C.UTF-8",
        "PATH": f"{CHECKOUT / '.venv' / 'bin'}:{os.environ['PATH']}",
    }


def run(settings: Settings, *extra: str) -> SiteRun:
    """Run `ansible-playbook -i inventory/lab site.yml` and show it as it goes.

    Raises LabError when it fails; ansible has then said why.
    """
    argv = ["ansible-playbook", "-i", "inventory/lab", "site.yml", *extra]
    colour = {"ANSIBLE_FORCE_COLOR": "1"} if sys.stdout.isatty() else {}
    watch = Watch(time.monotonic())
    log = settings.state / "logs" / "site.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    with (
        log.open("w") as file,
        subprocess.Popen(  # noqa: S603
            argv,
            cwd=CHECKOUT,
            env={**os.environ, **environment(settings), **colour},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            encoding="utf-8",
            errors="replace",
        ) as process,
    ):
        for line in process.stdout or ():
            print(line, end="", flush=True)
            plain = _COLOUR.sub("", line)
            file.write(plain)
            watch.line(plain, time.monotonic())
    if process.returncode != 0:
        raise LabError(
            f"site.yml ended with {process.returncode}{f' in {watch.verb}' if watch.verb else ''}; what ansible said "
            f"stands above and in {log}. The rack stays as it is: mend the cause and run `make lab` again."
        )
    return watch.result
