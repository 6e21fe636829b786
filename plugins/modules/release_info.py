#!/usr/bin/python
# -*- coding: utf-8 -*-
# Copyright: (c) 2026, The edge.rack engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: release_info
short_description: What a site released when, as its git history has it
version_added: "0.1.0"
description:
  - Reads the history of a release file in the git work tree that it stands in, by first parents; what was merged
    counts from its merge.
  - With O(fetch) the remote is asked first, so that RV(behind) tells whether somebody else released meanwhile.
author:
  - The edge.rack engineers (@edge-rack)
requirements:
  - git
  - PyYAML
extends_documentation_fragment:
  - edge.rack.attributes.info
options:
  path:
    description: The release file.
    type: path
    required: true
  remote:
    description: The remote that devices read.
    type: str
    default: origin
  branch:
    description: Its branch.
    type: str
    default: main
  fetch:
    description: Ask the remote.
    type: bool
    default: false
  timeout:
    description: Seconds that git may take to ask the remote.
    type: int
    default: 60
  limit:
    description: So many commits of the file are read, the newest ones.
    type: int
    default: 200
"""

EXAMPLES = r"""
- name: What was released is known
  edge.rack.release_info:
    path: "{{ inventory_dir }}/group_vars/all/release.yml"
  delegate_to: localhost
  register: site
"""

RETURN = r"""
top:
  description: The work tree's folder.
  type: str
  returned: success
head:
  description: The commit that is checked out; empty before the first.
  type: str
  returned: success
branch:
  description: The branch that is checked out; empty if none is.
  type: str
  returned: success
remote_head:
  description: The commit of the remote's branch, as it was when the remote was asked last; empty if it has none.
  type: str
  returned: success
behind:
  description: Commits of the remote's branch that are not here.
  type: int
  returned: success
changed_files:
  description: Files that differ from the commit, or are not in it, relative to RV(top).
  type: list
  elements: str
  returned: success
file:
  description: The release file, relative to RV(top).
  type: str
  returned: success
released:
  description: C(edge_release) as the remote's branch has it, so as devices read it; empty where it has none.
  type: dict
  returned: success
releases:
  description: What was released, the newest first; commits that changed nothing of C(edge_release) are left out.
  type: list
  elements: dict
  returned: success
  contains:
    name:
      description: Name of the release.
      type: str
    commit:
      description: The commit that brought it.
      type: str
    at:
      description: When, with the time zone.
      type: str
    by:
      description: Who committed it.
      type: str
    release:
      description: C(edge_release).
      type: dict
    text:
      description: The whole file, as it was last while it said that.
      type: str
"""

import os
import traceback
import typing as t

from ansible.module_utils.basic import AnsibleModule, missing_required_lib

YAML_ERROR: str | None = None
try:
    import yaml
except ImportError:
    YAML_ERROR = traceback.format_exc()

LOCAL_SECONDS = 60


class GitError(Exception):
    """What git said."""


class Tree:
    """The git work tree of the site, seen from the folder of its release file."""

    def __init__(self, module: AnsibleModule, folder: str) -> None:
        self.module = module
        self.folder = folder

    def git(self, *arguments: str, seconds: int = LOCAL_SECONDS, check: bool = True) -> str:
        command = ["timeout", str(seconds), "git", "-C", self.folder, *arguments]
        environment = {"LC_ALL": "C.UTF-8", "GIT_TERMINAL_PROMPT": "0"}
        status, out, err = self.module.run_command(command, environ_update=environment)
        if status == 124:
            raise GitError("git %s took longer than %d seconds" % (arguments[0], seconds))
        if check and status != 0:
            raise GitError("git %s: %s" % (arguments[0], " ".join((err or out).split()) or "status %d" % status))
        return out if status == 0 else ""

    def changed_files(self) -> list[str]:
        """Paths relative to the top; a renamed file under both names."""
        out = self.git("status", "--porcelain", "-z", "--no-renames", "--untracked-files=all")
        return [entry[3:] for entry in out.split("\0") if entry]

    def releases(self, name: str, limit: int) -> list[dict[str, t.Any]]:
        log = self.git("log", "--first-parent", "--max-count=%d" % limit, "--format=%H%x00%cI%x00%cn <%ce>", "--", name)
        found: list[dict[str, t.Any]] = []
        for line in log.splitlines():
            commit, at, by = line.split("\0")
            text = self.git("show", "%s:./%s" % (commit, name), check=False)
            release = _release(text)
            if not release:
                continue
            one = {"name": str(release.get("name", "")), "release": release, "text": text}
            one |= {"commit": commit, "at": at, "by": by}
            # The older of two that say the same is the one that brought it; the newer has what was written beside it.
            if found and found[-1]["release"] == release:
                found[-1] = {**one, "text": found[-1]["text"]}
            else:
                found.append(one)
        return found


def _release(text: str) -> dict[str, t.Any]:
    try:
        found = (yaml.safe_load(text) or {}).get("edge_release")
    except (yaml.YAMLError, AttributeError):
        return {}
    return found if isinstance(found, dict) else {}


def read(module: AnsibleModule) -> dict[str, t.Any]:
    path = os.path.abspath(module.params["path"])
    folder, name = os.path.split(path)
    tree = Tree(module, folder)
    top = tree.git("rev-parse", "--show-toplevel").strip()
    remote = "refs/remotes/%s/%s" % (module.params["remote"], module.params["branch"])
    if module.params["fetch"]:
        # A remote without a branch yet is no error: nothing was released.
        refspec = "+refs/heads/%s*:refs/remotes/%s/%s*" % (
            module.params["branch"],
            module.params["remote"],
            module.params["branch"],
        )
        tree.git("fetch", "--quiet", module.params["remote"], refspec, seconds=module.params["timeout"])
    head = tree.git("rev-parse", "--verify", "--quiet", "HEAD", check=False).strip()
    remote_head = tree.git("rev-parse", "--verify", "--quiet", remote, check=False).strip()
    behind = tree.git("rev-list", "--count", "HEAD..%s" % remote).strip() if head and remote_head else "0"
    return {
        "top": top,
        "file": os.path.relpath(os.path.realpath(path), os.path.realpath(top)),
        "head": head,
        "branch": tree.git("symbolic-ref", "--short", "--quiet", "HEAD", check=False).strip(),
        "remote_head": remote_head,
        "behind": int(behind),
        "changed_files": tree.changed_files(),
        "released": _release(tree.git("show", "%s:./%s" % (remote, name), check=False)) if remote_head else {},
        "releases": tree.releases(name, module.params["limit"]) if head else [],
    }


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "path": {"type": "path", "required": True},
            "remote": {"type": "str", "default": "origin"},
            "branch": {"type": "str", "default": "main"},
            "fetch": {"type": "bool", "default": False},
            "timeout": {"type": "int", "default": 60},
            "limit": {"type": "int", "default": 200},
        },
        supports_check_mode=True,
    )
    if YAML_ERROR:
        module.fail_json(msg=missing_required_lib("PyYAML"), exception=YAML_ERROR)
    if not os.path.exists(module.params["path"]):
        module.fail_json(msg="%s is not there: it is the site's release file." % module.params["path"])
    try:
        module.exit_json(changed=False, **read(module))
    except GitError as error:
        module.fail_json(msg="%s cannot be released from: %s" % (os.path.dirname(module.params["path"]), error))


if __name__ == "__main__":
    main()
