# Copyright: (c) 2026, The edge.rack engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One run: the newest good commit, applied by Ansible, and what came of it."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import time
import uuid
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from edge_trust.links import CannotCheckError

from . import files, lock, reports
from .settings import Settings
from .site import NoSiteError, WaitingError, last_line, newest


def run(settings: Settings) -> dict[str, Any]:
    """Converge once, and leave a report in the spool whatever happens; the report."""
    with lock.pull(settings.lock_seconds):
        end_interrupted(settings)
        report = {
            "id": str(uuid.uuid4()),
            "device": settings.device,
            "mode": "pull",
            "started": time.time(),
            "host": socket.gethostname(),
        }
        # Those of the run before are no part of this one, wherever it is cut.
        events(settings).unlink(missing_ok=True)
        files.write(journal(settings), report)
        try:
            site = newest(settings)
        except WaitingError as error:
            return end(settings, report, outcome="waiting", error=str(error))
        except NoSiteError as error:
            return end(settings, report, outcome="refused", error=str(error))
        except CannotCheckError as error:
            return end(settings, report, outcome="failed", error=f"{error.found}: {error.remedy}")
        report |= {
            "commit": site.commit,
            "subject": site.subject,
            "offline": site.offline,
            "refused": site.refused,
        }
        files.write(journal(settings), report)
        try:
            check_out(settings, site.commit)
        except CannotCheckError as error:
            return end(settings, report, outcome="failed", error=f"{error.found}: {error.remedy}")
        status = apply(settings)
        return end(settings, report, **judge(settings, report, status))


def check_out(settings: Settings, commit: str) -> None:
    """The commit in the place of the last one, whole at every moment: a training that begins meanwhile looks there.

    Made anew each time: a file beside the site's own, or a lock that a power cut left, would stay in an old one.

    Raises CannotCheckError where there is no room for it, or where git finds no signature of somebody who may release.
    """
    new = settings.checkout.with_name(f"{settings.checkout.name}.new")
    shutil.rmtree(new, ignore_errors=True)
    disk, goes_by = "look at its disk", environment(settings)
    for remedy, *argv in (
        (disk, "clone", "--quiet", "--no-checkout", "--template=", str(settings.mirror), str(new)),
        # Proved already, and here once more by another program than our own.
        ("sign it with a key of trust_signers", "-C", str(new), "verify-commit", commit),
        (disk, "-C", str(new), "checkout", "--quiet", "--detach", commit),
    ):
        done = subprocess.run(  # noqa: S603
            ["git", *argv],  # noqa: S607 - root's PATH
            env=goes_by,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            check=False,
        )
        if done.returncode != 0:
            raise CannotCheckError(f"the site cannot be checked out to {new}: {last_line(done.stderr)}", remedy)
    try:
        files.exchange(new, settings.checkout)
    except OSError as error:
        raise CannotCheckError(f"{settings.checkout} does not take the new commit: {error}", disk) from error
    shutil.rmtree(new, ignore_errors=True)


def apply(settings: Settings) -> int:
    """Run the playbook on this device alone, with what is checked out; its exit status.

    As ansible-pull would, which starts Ansible three times for it, and has no checkout meanwhile.
    """
    argv = [
        str(settings.ansible_playbook),
        f"--inventory={settings.inventory}",
        f"--inventory={settings.checkout / settings.site_inventory}",
        f"--limit={settings.device}",
        str(settings.checkout / settings.playbook),
    ]
    return subprocess.run(  # noqa: S603
        argv, cwd=settings.checkout, env=environment(settings), stdin=subprocess.DEVNULL, check=False
    ).returncode


def environment(settings: Settings) -> dict[str, str]:
    """What Ansible and git go by."""
    git = {
        "gpg.format": "ssh",
        "gpg.ssh.program": "ssh-keygen",
        "gpg.ssh.allowedSignersFile": str(settings.signers),
        "gpg.ssh.revocationFile": str(settings.revoked),
        "gpg.program": "false",
        "core.hooksPath": os.devnull,
    }
    return {
        "PATH": f"{settings.ansible_playbook.parent}:{os.environ.get('PATH', os.defpath)}",
        "HOME": "/root",
        "LC_ALL": "C.UTF-8",
        "ANSIBLE_CONFIG": str(settings.config_dir / "ansible.cfg"),
        "EDGE_PULL_EVENTS": str(events(settings)),
        **mitogen(settings),
        "GIT_CONFIG_GLOBAL": os.devnull,
        "GIT_CONFIG_COUNT": str(len(git)),
        **{f"GIT_CONFIG_KEY_{number}": name for number, name in enumerate(git)},
        **{f"GIT_CONFIG_VALUE_{number}": value for number, value in enumerate(git.values())},
    }


def mitogen(settings: Settings) -> dict[str, str]:
    """What has all modules run in one process, which loads what they need once.

    Empty where no mitogen lies beside ansible-playbook.
    """
    found = sorted(
        settings.ansible_playbook.parent.parent.glob("lib/python3*/site-packages/ansible_mitogen/plugins/strategy")
    )
    if not found:
        return {}
    return {
        "ANSIBLE_STRATEGY": "mitogen_linear",
        "ANSIBLE_STRATEGY_PLUGINS": str(found[-1]),
        # One for each run, that ansible-core 2.23 will take no strategies but its own; requirements.txt stays below it.
        "ANSIBLE_DEPRECATION_WARNINGS": "False",
    }


def judge(settings: Settings, report: dict[str, Any], status: int) -> dict[str, Any]:
    """What the run came to. `corrective`: it put back what had drifted; `changed`: the site had changed."""
    tasks = list(_events(settings))
    changed = sum(task["status"] == "changed" for task in tasks)
    failed = [task for task in tasks if task["status"] == "failed"]
    last = files.read(settings.state_dir / "converge.json").get("last_good") or {}
    found: dict[str, Any] = {"changed": changed, "tasks": tasks, "error": ""}
    if status != 0:
        found["error"] = (
            failed[-1]["message"] if failed else f"ansible-playbook ended with {status}; journalctl -u edge-converge"
        )
        return found | {"outcome": "failed"}
    if report["refused"]:
        return found | {"outcome": "refused", "error": report["refused"]}
    if not changed:
        return found | {"outcome": "ok"}
    return found | {"outcome": "corrective" if last.get("commit") == report["commit"] else "changed"}


def end(settings: Settings, report: dict[str, Any], **found: Any) -> dict[str, Any]:
    """Put the finished report into the spool and into the device's own state."""
    report = report | {"ended": time.time(), "release": wanted(settings, report)} | found
    settings.spool.mkdir(mode=0o700, parents=True, exist_ok=True)
    files.write(spooled(settings, report), report, mode=0o600)
    note(settings, report)
    journal(settings).unlink(missing_ok=True)
    reports.trim(settings.spool, settings.reports_kept)
    return report


def wanted(settings: Settings, report: dict[str, Any]) -> str:
    """The release that the run was to bring, which the playbook writes first; before that, the one that is here."""
    path = settings.state_dir / "release-wanted.json"
    if path.exists() and path.stat().st_mtime >= report["started"]:
        return str(files.read(path).get("name", ""))
    return str(files.read(settings.state_dir / "release.json").get("name", ""))


def spooled(settings: Settings, report: dict[str, Any]) -> Path:
    return settings.spool / f"{report['started']:.3f}-{report['id']}.json"


def note(settings: Settings, report: dict[str, Any]) -> None:
    """Keep what `edge-converge status` shows."""
    path = settings.state_dir / "converge.json"
    state = files.read(path)
    kept = {key: value for key, value in report.items() if key != "tasks"}
    state["last"] = kept
    if report["outcome"] in reports.GOOD:
        state["last_good"] = kept
    files.write(path, state)


def end_interrupted(settings: Settings) -> None:
    """A run that a power cut or a kill ended left its journal: it gets its report now."""
    left = files.read(journal(settings))
    last = files.read(settings.state_dir / "converge.json").get("last") or {}
    # Cut after its report was written, and perhaps sent.
    if left and (last.get("id") == left["id"] or spooled(settings, left).exists()):
        journal(settings).unlink(missing_ok=True)
    elif left:
        tasks = list(_events(settings))
        changed = sum(task["status"] == "changed" for task in tasks)
        why = left.get("ended_by") or "the device was switched off, or the run was killed"
        end(settings, left, outcome="interrupted", error=why, changed=changed, tasks=tasks)


def journal(settings: Settings) -> Path:
    return settings.state_dir / "converge-running.json"


def events(settings: Settings) -> Path:
    """Written by the callback plugin edge.rack.pull_events, a line for each task that changed or failed."""
    return settings.state_dir / "converge-events.jsonl"


def _events(settings: Settings) -> Iterator[dict[str, Any]]:
    with suppress(OSError), events(settings).open() as file:
        for line in file:
            # The last line of a run that was killed may be cut.
            with suppress(ValueError):
                yield json.loads(line)


def pause(settings: Settings) -> dict[str, Any]:
    """The pause that somebody asked for, or nothing once it is over."""
    found = files.read(pause_file(settings))
    return found if found.get("until", 0) > time.time() else {}


def pause_file(settings: Settings) -> Path:
    return settings.state_dir / "converge-paused.json"
