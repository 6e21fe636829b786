#!/usr/bin/python
# -*- coding: utf-8 -*-
# Copyright: (c) 2026, The edge.rack engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: files
short_description: Write many small files and folders in one task
version_added: "0.1.0"
description:
  - For all entries of O(files) at once, does what M(ansible.builtin.copy) with O(ignore:content),
    M(ansible.builtin.template) and M(ansible.builtin.file) do for one. Those run two programs on the host for each
    file, also where nothing is to be done, and are the larger part of a run over a rack that changes nothing.
  - Everything is looked at before anything is written, each O(files[].validate) included. A file is written beside its
    place with its owner and mode, brought to the disk, and renamed, so a power cut leaves the old one or the new one.
  - Contents are neither logged on the host nor part of what it returns. O(ignore:diff) shows them, so give a task with
    secrets C(no_log).
  - Files are text. Bigger ones are for M(ansible.builtin.copy) and M(ansible.builtin.unarchive).
author:
  - The edge.rack engineers (@edge-rack)
extends_documentation_fragment:
  - edge.rack.attributes
options:
  files:
    description: The files and folders, in the order in which they are made. A folder comes before what is in it.
    type: list
    elements: dict
    required: true
    suboptions:
      path:
        description: Where it is, from the root.
        type: path
        required: true
      state:
        description:
          - V(file) has O(files[].content), V(directory) is a folder.
          - V(absent) is taken away if it is a file or a link; a folder is refused.
        type: str
        choices: [file, directory, absent]
        default: file
      content:
        description:
          - What is in a file. From the controller with P(ansible.builtin.file#lookup) (C(rstrip=false)) or
            P(ansible.builtin.template#lookup).
        type: str
      owner:
        description: Owner; without it who runs the task, or for what is there already, as it is.
        type: str
      group:
        description: Group, likewise.
        type: str
      mode:
        description: Mode in octal digits, such as V("0644"). Without it V("0644"), and for a folder V("0755").
        type: str
      validate:
        description: Command that looks at the new content, in a file in place of C(%s), and ends with 0 if it is good.
        type: str
seealso:
  - module: ansible.builtin.copy
  - module: ansible.builtin.template
  - module: ansible.builtin.file
"""

EXAMPLES = r"""
- name: Units are there
  edge.rack.files:
    files:
      - {path: /etc/edge, state: directory}
      - path: /etc/edge/settings.json
        content: "{{ my_settings | to_nice_json }}\n"
        mode: "0600"
      - path: /etc/systemd/system/edge-example.service
        content: "{{ lookup('ansible.builtin.template', 'edge-example.service.j2') }}"
  register: units

- name: Service runs
  ansible.builtin.systemd_service:
    name: edge-example.service
    state: "{{ units is changed | ternary('restarted', 'started') }}"
    daemon_reload: "{{ '/etc/systemd/system/edge-example.service' in units.paths }}"
"""

RETURN = r"""
paths:
  description: What was changed, or would be in check mode.
  type: list
  elements: str
  returned: success
  sample: [/etc/edge/settings.json]
"""

import grp
import os
import pwd
import re
import shlex
import stat
import tempfile
import typing as t

from ansible.module_utils.basic import AnsibleModule

Entry = t.Dict[str, t.Any]

AS_IT_IS = -1  # as chown(2) takes it
UNKNOWN = -2
DEFAULT_MODES = {"file": "0644", "directory": "0755"}


class Refused(Exception):
    """Nothing was changed; the text names the file and what is wrong."""


def checked(files: list[Entry]) -> None:
    """Look at what was asked for before the machine is.

    Raises Refused.
    """
    seen = set()
    for entry in files:
        path = entry["path"]
        if not os.path.isabs(path):
            raise Refused("%s: a path begins at the root" % path)
        if os.path.normpath(path) in seen:
            raise Refused("%s is there twice" % path)
        seen.add(os.path.normpath(path))
        if (entry["state"] == "file") != (entry["content"] is not None):
            raise Refused("%s: `content` belongs to a file, and a file needs it (state is %s)" % (path, entry["state"]))
        if entry["validate"] and "%s" not in entry["validate"]:
            raise Refused("%s: `validate` has no %%s, where the new file is named" % path)
        if entry["mode"] is not None and not re.fullmatch("0?[0-7]{3,4}", entry["mode"]):
            raise Refused("%s: mode %r is not octal digits in quotes, such as '0644'" % (path, entry["mode"]))


def user_id(name: str | None) -> int:
    """The user's number, AS_IT_IS where none is named. Raises KeyError."""
    return AS_IT_IS if name is None else int(name) if name.isdigit() else pwd.getpwnam(name).pw_uid


def group_id(name: str | None) -> int:
    return AS_IT_IS if name is None else int(name) if name.isdigit() else grp.getgrnam(name).gr_gid


def numbered(entry: Entry, check_mode: bool) -> tuple[int, int]:
    """User's and group's number.

    Raises Refused where the host does not know one, which in check mode an earlier task may only say it would make.
    """
    found = []
    for number, name in ((user_id, entry["owner"]), (group_id, entry["group"])):
        try:
            found.append(number(name))
        except KeyError as error:
            if not check_mode:
                raise Refused("%s: %s on this host" % (entry["path"], error.args[0])) from error
            found.append(UNKNOWN)
    return found[0], found[1]


class Change:
    """What is to be done to one path; `before` and `after` are shown by --diff."""

    def __init__(self, entry: Entry, made: set[str], check_mode: bool) -> None:
        self.path: str = entry["path"]
        self.state: str = entry["state"]
        self.content: bytes = (entry["content"] or "").encode()
        self.validate: str | None = entry["validate"]
        self.user, self.group = numbered(entry, check_mode)
        self.mode = int(entry["mode"] or DEFAULT_MODES.get(self.state, "0"), 8)
        self.staged: str | None = None
        self.there = self._look()
        if self.there is not None:
            self.user = self.there.st_uid if self.user == AS_IT_IS else self.user
            self.group = self.there.st_gid if self.group == AS_IT_IS else self.group
        self.old = b""
        if self.there is None:
            parent = os.path.dirname(os.path.normpath(self.path))
            # In check mode it may be one that an earlier task, of a package say, would have made.
            if self.state != "absent" and not check_mode and parent not in made and not os.path.isdir(parent):
                raise Refused("%s: its folder %s is not there; name it first, as a directory" % (self.path, parent))
        elif self.state == "directory":
            if not stat.S_ISDIR(self.there.st_mode):
                raise Refused("%s is no folder, and is left as it is" % self.path)
        elif stat.S_ISDIR(self.there.st_mode):
            raise Refused("%s is a folder, and is left as it is" % self.path)
        elif stat.S_ISREG(self.there.st_mode) and self.state == "file":
            with open(self.path, "rb") as file:
                self.old = file.read()

    def _look(self) -> os.stat_result | None:
        try:
            # A link to a folder is one; a link in a file's place is replaced, as by a rename.
            return os.stat(self.path) if self.state == "directory" else os.lstat(self.path)
        except (FileNotFoundError, NotADirectoryError):
            return None

    @property
    def writes(self) -> bool:
        """Whether a file's content is to be written."""
        regular = self.there is not None and stat.S_ISREG(self.there.st_mode)
        return self.state == "file" and (not regular or self.old != self.content)

    @property
    def sets(self) -> bool:
        """Whether owner, group or mode differ from what is wanted."""
        if self.there is None or self.state == "absent":
            return False
        found = (self.there.st_uid, self.there.st_gid, stat.S_IMODE(self.there.st_mode))
        return found != (self.user, self.group, self.mode)

    @property
    def needed(self) -> bool:
        if self.state == "absent":
            return self.there is not None
        return self.there is None or self.writes or self.sets

    def stage(self, folder: str) -> None:
        """Write the new content into `folder`, as it is to be at its place."""
        handle, self.staged = tempfile.mkstemp(prefix=".edge-files-", dir=folder)
        with os.fdopen(handle, "wb") as file:
            file.write(self.content)
            file.flush()
            # Whom the host does not know yet nothing is given to: check mode stages for `validate` alone.
            os.fchown(handle, max(self.user, AS_IT_IS), max(self.group, AS_IT_IS))
            os.fchmod(handle, self.mode)
            os.fsync(handle)

    def apply(self) -> None:
        if self.state == "absent":
            os.unlink(self.path)
        elif self.writes:
            self.stage(os.path.dirname(self.path))
            os.replace(str(self.staged), self.path)
            self.staged = None
        else:
            if self.there is None:
                os.mkdir(self.path, 0o700)
            os.chown(self.path, self.user, self.group)
            os.chmod(self.path, self.mode)

    def diff(self) -> dict[str, str]:
        before = after = ""
        if self.state == "file":
            before, after = (text.decode("utf-8", "replace") for text in (self.old, self.content))
        if self.there is not None:
            before = "# %s\n%s" % (self._attributes(self.there.st_uid, self.there.st_gid, self.there.st_mode), before)
        if self.state != "absent":
            after = "# %s\n%s" % (self._attributes(self.user, self.group, self.mode), after)
        return {"before": before, "after": after, "before_header": self.path, "after_header": self.path}

    def _attributes(self, user: int, group: int, mode: int) -> str:
        kind = "folder" if self.state == "directory" else "file"
        names = ["its own" if number < 0 else str(number) for number in (user, group)]
        return "%s of user %s, group %s, mode %04o" % (kind, names[0], names[1], stat.S_IMODE(mode))


def validated(module: AnsibleModule, changes: list[Change]) -> None:
    """Hand each new content to its command, in a folder that nobody else reads.

    Raises Refused with what the command said.
    """
    for change in changes:
        if not change.validate or not change.writes:
            continue
        with tempfile.TemporaryDirectory(dir=module.tmpdir) as folder:
            change.stage(folder)
            argv = [word.replace("%s", str(change.staged)) for word in shlex.split(change.validate)]
            status, out, error = module.run_command(argv)
            change.staged = None
        if status != 0:
            raise Refused(
                "%s: `%s` refuses the new content: %s" % (change.path, change.validate, (error or out).strip())
            )


def run(module: AnsibleModule) -> dict[str, t.Any]:
    files: list[Entry] = module.params["files"]
    checked(files)
    made: set[str] = set()
    changes = []
    for entry in files:
        changes.append(Change(entry, made, module.check_mode))
        if entry["state"] == "directory":
            made.add(os.path.normpath(entry["path"]))
    needed = [change for change in changes if change.needed]
    validated(module, needed)
    if not module.check_mode:
        for change in needed:
            try:
                change.apply()
            finally:
                if change.staged is not None:
                    os.unlink(change.staged)
    result: dict[str, t.Any] = {"changed": bool(needed), "paths": [change.path for change in needed]}
    if module._diff:
        result["diff"] = [change.diff() for change in needed]
    return result


def main() -> None:
    entry = {
        "path": {"type": "path", "required": True},
        "state": {"type": "str", "choices": ["file", "directory", "absent"], "default": "file"},
        "content": {"type": "str"},
        "owner": {"type": "str"},
        "group": {"type": "str"},
        "mode": {"type": "str"},
        "validate": {"type": "str"},
    }
    module = AnsibleModule(
        argument_spec={"files": {"type": "list", "elements": "dict", "required": True, "options": entry}},
        # Contents do not belong into the host's log, nor into what is returned.
        no_log=True,
        supports_check_mode=True,
    )
    said = {"module_args": {"files": [{**asked, "content": None} for asked in module.params["files"]]}}
    try:
        module.exit_json(invocation=said, **run(module))
    except Refused as error:
        module.fail_json(msg="%s. Nothing was changed." % error, invocation=said)
    except OSError as error:
        module.fail_json(msg="%s: %s" % (error.filename, error.strerror), invocation=said)


if __name__ == "__main__":
    main()
