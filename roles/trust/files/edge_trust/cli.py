# Copyright: (c) 2026, The edge.rack engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The program: edge-trust verify CHECKOUT, and edge-trust wave CHECKOUT for who deploys."""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

from . import commit, files, images, model, release
from .engine import Engine
from .links import BROKEN, OK, UNCHECKED, BrokenLinkError, CannotCheckError, Link
from .repository import Repository

NAMES = ("commit", "files", "release", "image", "containers", "model")
T = TypeVar("T")


class Chain:
    """The links as they were found, in order."""

    def __init__(self) -> None:
        self.links: list[Link] = []

    def check(self, name: str, step: Callable[[], T]) -> T | None:
        """What the step gave, or None where the link does not hold."""
        try:
            found = step()
        except CannotCheckError as error:
            self.links.append(Link(name, UNCHECKED, error.found, error.remedy))
        except BrokenLinkError as error:
            self.links.append(Link(name, BROKEN, error.found, error.remedy))
        else:
            self.links.append(Link(name, OK, str(found)))
            return found
        return None

    def end(self) -> None:
        """Links that hang on one that does not hold."""
        before = self.links[-1].name
        for name in NAMES[len(self.links) :]:
            self.links.append(Link(name, UNCHECKED, f"hangs on the link {before}", f"mend the link {before} first"))

    @property
    def code(self) -> int:
        states = {link.state for link in self.links}
        return 1 if BROKEN in states else 2 if UNCHECKED in states else 0


def verify(options: argparse.Namespace) -> tuple[Chain, dict[str, object]]:
    """Check link after link; none is held against a commit or a release that is not trusted itself."""
    chain = Chain()
    about: dict[str, object] = {"checkout": str(options.checkout)}
    repository = None
    try:
        repository = Repository(options.checkout)
    except BrokenLinkError as error:
        chain.links.append(Link("commit", UNCHECKED, error.found, error.remedy))
    if repository:
        with repository:
            about["commit"] = repository.commit
            if chain.check("commit", lambda: commit.check(repository, options.signers, options.revoked)):
                chain.check("files", lambda: files.check(repository))
                if released := chain.check("release", lambda: release.read(repository, options.site)):
                    about["release"] = released.as_dict()
                    _check_device(chain, released, options)
    chain.end()
    return chain, about


def _check_device(chain: Chain, released: release.Release, options: argparse.Namespace) -> None:
    try:
        engine = Engine.ask()
    except CannotCheckError as error:
        chain.links += [Link(name, UNCHECKED, error.found, error.remedy) for name in NAMES[3:]]
        return
    chain.check("image", lambda: images.check_images(engine, released))
    chain.check("containers", lambda: images.check_containers(engine, released, options.other_container))
    chain.check("model", lambda: model.check(engine, released, options.models))


def check(options: argparse.Namespace) -> int:
    """Print every link."""
    chain, about = verify(options)
    if options.json:
        print(json.dumps({**about, "trusted": chain.code == 0, "links": [link.as_dict() for link in chain.links]}))
    else:
        print(show(chain))
    return chain.code


def wave(options: argparse.Namespace) -> int:
    """Print where a device stands in a release that was committed by hand (waves.py)."""
    try:
        with Repository(options.checkout) as repository:
            found = release.rollout(repository, options.site)
    except BrokenLinkError as error:  # CannotCheckError is one
        print(f"edge-trust: {error.found}: {error.remedy}", file=sys.stderr)
        return 1
    about: dict[str, object] = {"policy": bool(found), "held": False}
    if found:
        policy, rollout = found
        number = policy.wave(options.device, options.group)
        about |= {"wave": number, "of": policy.waves}
        if rollout:
            opens = policy.opens(number, rollout.since)
            about |= {"to": rollout.to, "before": rollout.before, "held": time.time() < opens, "opens": int(opens)}
    # A date of YAML, where somebody wrote one as a tag, is the text that it was.
    print(json.dumps(about, default=str))
    return 0


def show(chain: Chain) -> str:
    lines: list[str] = []
    for link in chain.links:
        lines.append(f"{link.name:<11}{link.state.upper() if link.state == BROKEN else link.state:<10} {link.found}")
        if link.remedy:
            lines.append(f"{'':<22}-> {link.remedy}")
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="edge-trust",
        description="Does this device run what was released? Ends with 0 if so, 1 where a link is broken, 2 where one "
        "cannot be checked.",
    )
    verbs = parser.add_subparsers(required=True)
    verb = verbs.add_parser("verify", help="check every link from the signed commit to what runs")
    verb.set_defaults(does=check)
    _add_site(verb)
    verb.add_argument(
        "--other-container", action="append", default=[], metavar="NAME", help="may run beside the release"
    )
    verb.add_argument("--signers", type=Path, default=Path("/etc/edge/trust/allowed_signers"), help="who may release")
    verb.add_argument(
        "--revoked", type=Path, default=Path("/etc/edge/trust/revoked_keys"), help="keys that no longer count"
    )
    verb.add_argument("--models", type=Path, default=Path("/var/lib/edge/models"), help="folder of models")
    verb.add_argument("--json", action="store_true", help="for programs")
    verb = verbs.add_parser("wave", help="for programs: may a device take a release that was committed by hand?")
    verb.set_defaults(does=wave)
    _add_site(verb)
    verb.add_argument("--device", required=True, help="its name")
    verb.add_argument("--group", action="append", default=[], metavar="NAME", help="one that it is in")
    options = parser.parse_args(arguments)
    return int(options.does(options))


def _add_site(verb: argparse.ArgumentParser) -> None:
    verb.add_argument("checkout", type=lambda text: Path(text).absolute(), help="the site's checkout")
    verb.add_argument(
        "--site", action="append", default=[], metavar="FILE", help="its release file, within the checkout"
    )


if __name__ == "__main__":
    sys.exit(main())
