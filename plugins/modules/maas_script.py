#!/usr/bin/python
# -*- coding: utf-8 -*-
# Copyright: (c) 2026, The edge.rack engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: maas_script
short_description: Manage commissioning and testing scripts in MAAS
version_added: "0.1.0"
description:
  - Uploads a script that MAAS runs on machines, keeps its content and its description as given, and deletes it.
  - Other content becomes a new version of the script. MAAS runs the newest.
  - The options add to the metadata block that a script may hold, they do not override it. MAAS refuses that, and so
    does the module, before anything is sent.
author:
  - The edge.rack engineers (@edge-rack)
extends_documentation_fragment:
  - edge.rack.maas
  - edge.rack.attributes
  - edge.rack.attributes.actiongroup_maas
options:
  state:
    description: V(absent) deletes the script with all its versions. For it only a name is needed.
    type: str
    choices: [present, absent]
    default: present
  path:
    description: The script, a file on the machine where the module runs.
    type: path
  content:
    description: The script itself. It begins with C(#!/).
    type: str
  name:
    description:
      - The name, without spaces and quotes.
      - If not set, it is the C(name) of the script's metadata block.
    type: str
  title:
    description: The title people see.
    type: str
  description:
    description: What the script does.
    type: str
  type:
    description:
      - When MAAS runs it. All scripts of type V(commissioning) run when a machine is commissioned, those that are
        tagged C(noauto) only when asked for. Of type V(testing) those run by themselves that are tagged
        C(commissioning).
      - A new script without it, whose metadata says nothing either, is for V(testing).
    type: str
    choices: [commissioning, testing]
  tags:
    description:
      - Its tags, all of them. MAAS itself adds those that follow from what a script is, such as C(node).
      - The tags of the metadata block are used only for a new script.
    type: list
    elements: str
  timeout_seconds:
    description:
      - How long the script may run, V(0) for as long as it likes.
      - That of the metadata block is used only for a new script.
    type: int
notes:
  - A script gets the name of its file neither from O(path) nor from MAAS.
"""

EXAMPLES = r"""
- name: Devices with a failing disk do not pass commissioning
  edge.rack.maas_script:
    maas_url: http://maas.example.com:5240/MAAS
    maas_api_key_file: /etc/edge/maas.key
    path: files/disk-health.sh
    name: edge-disk-health
    type: commissioning
    tags: [edge]
    timeout_seconds: 120
"""

RETURN = r"""
script:
  description: The script as MAAS has it, in check mode as it would have it, empty if it is not there.
  type: dict
  returned: always
  contains:
    id:
      description: The number that MAAS gave it, null if check mode made it up.
      type: int
    name:
      description: The name.
      type: str
    title:
      description: The title.
      type: str
    description:
      description: What it does.
      type: str
    type:
      description: V(commissioning) or V(testing).
      type: str
    tags:
      description: Its tags, without those that MAAS adds itself.
      type: list
      elements: str
    timeout_seconds:
      description: How long it may run, 0 for as long as it likes.
      type: int
    revision:
      description: The number of its current version, null if check mode made it up.
      type: int
"""

import base64
import re
import traceback
import typing as t

from ansible.module_utils.basic import AnsibleModule, missing_required_lib
from ansible_collections.edge.rack.plugins.module_utils.maas import (
    MaasClient,
    MaasNotFound,
    connection_argument_spec,
    run_with_client,
)

YAML_IMPORT_ERROR = None  # type: t.Optional[str]
try:
    import yaml
except ImportError:
    YAML_IMPORT_ERROR = traceback.format_exc()

Row = t.Dict[str, t.Any]
AUTOMATIC_TAGS = ("node", "cpu", "memory", "storage", "network", "gpu", "destructive")
TYPES = {0: "commissioning", 2: "testing"}
METADATA_EDGE = re.compile(r"\s*#\s*-+\s*(?:Start|End) MAAS 1\.0 script metadata\s+-+", re.IGNORECASE)


def read_content(module: AnsibleModule) -> t.Optional[str]:
    """The script, with the line ends that MAAS keeps."""
    content, path = module.params["content"], module.params["path"]
    if path:
        try:
            with open(path, encoding="utf-8") as handle:
                content = handle.read()
        except (OSError, UnicodeDecodeError) as error:
            module.fail_json(msg="Reading the script %s: %s. Check `path`." % (path, error))
    if content is None:
        return None
    if not content.startswith("#!/"):
        where = path or "`content`"
        module.fail_json(msg="%s is no script: it does not begin with `#!/`, and MAAS would not take it." % where)
    return canonical(content)


def canonical(content: str) -> str:
    """The same script, whatever was done to its line ends and its last line on the way."""
    return content.replace("\r\n", "\n").rstrip() + "\n"


def read_metadata(module: AnsibleModule, content: str) -> Row:
    """The metadata block of a script, as MAAS reads it."""
    inside, lines = False, []
    for line in content.splitlines()[1:]:
        if METADATA_EDGE.match(line):
            if inside:
                break
            inside = True
        elif inside and "#" in line:
            lines.append(line.split("#", 1)[1])
    if not lines:
        return {}
    if YAML_IMPORT_ERROR is not None:
        module.fail_json(msg=missing_required_lib("PyYAML"), exception=YAML_IMPORT_ERROR)
    try:
        metadata = yaml.safe_load("\n".join(lines))
    except yaml.YAMLError as error:
        module.fail_json(msg="The metadata block of the script is no YAML: %s. Correct the script." % error)
    return metadata if isinstance(metadata, dict) else {}


def require_agreement(module: AnsibleModule, metadata: Row) -> None:
    """Options that the metadata block contradicts are refused by MAAS."""
    for option, key in (("name", "name"), ("title", "title"), ("description", "description"), ("type", "script_type")):
        given, said = module.params[option], metadata.get(key)
        if given is not None and said is not None and str(given) != str(said):
            module.fail_json(
                msg="`%s` is %r, and the metadata block of the script says %r. Let one of them be changed."
                % (option, given, said)
            )


def seconds(duration: str) -> int:
    """A duration as MAAS shows it: ``[days day[s], ]hours:minutes:seconds``."""
    match = re.match(r"(?:(\d+) days?, )?(\d+):(\d+):(\d+)", duration)
    days, hours, minutes, rest = (int(part or 0) for part in match.groups()) if match else (0, 0, 0, 0)
    return ((days * 24 + hours) * 60 + minutes) * 60 + rest


def find(client: MaasClient, name: str) -> t.Optional[Row]:
    try:
        return client.call("NodeScript.read", name=name, include_script=True)
    except MaasNotFound:
        return None


def shown(row: t.Optional[Row]) -> Row:
    """A script in the module's own words, with its content."""
    if row is None:
        return {}
    return {
        "name": row["name"],
        "title": row["title"],
        "description": row["description"],
        "type": TYPES.get(row["type"], row["type_name"]),
        "tags": sorted(tag for tag in row["tags"] if tag not in AUTOMATIC_TAGS),
        "timeout_seconds": seconds(row["timeout"]),
        "content": canonical(base64.b64decode(row["history"][0]["data"]).decode("utf-8", "replace")),
    }


def wanted_script(module: AnsibleModule, name: str, content: t.Optional[str], metadata: Row, before: Row) -> Row:
    """The script as it should be."""
    params = module.params
    new = {"name": name, "title": "", "description": "", "type": "testing", "tags": [], "timeout_seconds": 0}
    after = {**new, **before}
    after.update({key: str(metadata[key]) for key in ("title", "description") if metadata.get(key) is not None})
    if metadata.get("script_type") in TYPES.values():
        after["type"] = metadata["script_type"]
    if not before:
        tags = metadata.get("tags") or []
        after["tags"] = tags.split(",") if isinstance(tags, str) else [str(tag) for tag in tags]
        after["timeout_seconds"] = timeout_of(metadata.get("timeout"))
    given = ("title", "description", "type", "tags", "timeout_seconds")
    after.update({option: params[option] for option in given if params[option] is not None})
    after["tags"] = sorted({tag.strip() for tag in after["tags"]} - set(AUTOMATIC_TAGS) - {""})
    if content is not None:
        after["content"] = content
    return after


def timeout_of(value: t.Any) -> int:
    """The timeout of a metadata block: seconds, or hours:minutes:seconds, which YAML may have read as a number."""
    text = str(value or 0)
    parts = [int(part) for part in text.split(":")] if re.match(r"\d+(:\d+)*\Z", text) else [0]
    total = 0
    for part in parts:
        total = total * 60 + part
    return total


def write(client: MaasClient, row: t.Optional[Row], before: Row, after: Row, metadata: Row) -> Row:
    """Send what differs; with content also what a metadata block would otherwise be asked for."""
    names = {"title": "title", "description": "description", "type": "type", "timeout_seconds": "timeout"}
    fields = {field: after[name] for name, field in names.items() if after[name] != before.get(name)}
    if after["tags"] != before.get("tags"):
        fields["tags"] = ",".join(after["tags"])
    for key in ("title", "description"):
        if metadata.get(key) is not None:
            fields.pop(key, None)
    if after.get("content") != before.get("content"):
        fields["script"] = after["content"]
    if row is None:
        return client.call("NodeScripts.create", name=after["name"], **fields)
    return client.call("NodeScript.update", name=after["name"], **fields)


def work(module: AnsibleModule, client: MaasClient) -> Row:
    params = module.params
    content = read_content(module)
    metadata = read_metadata(module, content) if content is not None else {}
    require_agreement(module, metadata)
    name = params["name"] or metadata.get("name")
    if not name:
        module.fail_json(msg="The script has no name. Set `name`, or `name:` in the script's metadata block.")
    if re.search(r"[^\w@%+=:,./-]", name) or name.isdigit() or name.lower() == "none":
        module.fail_json(msg="A script cannot be named %r. Correct `name`: no spaces, no quotes, no number." % name)
    if params["timeout_seconds"] is not None and params["timeout_seconds"] < 0:
        module.fail_json(msg="`timeout_seconds` is negative. Give 0 for no limit.")
    row = find(client, name)
    if row is not None and row.get("default"):
        module.fail_json(msg="The script %s is one of MAAS's own and stays as it is. Choose another `name`." % name)
    before = shown(row)
    if params["state"] == "absent":
        if row is not None and not module.check_mode:
            client.call("NodeScript.delete", name=name)
        return result(before, {}, None)

    if row is None and content is None:
        module.fail_json(msg="MAAS has no script %s. Give its `path` or `content`." % name)
    after = wanted_script(module, name, content, metadata, before)
    if after != before and not module.check_mode:
        write(client, row, before, after, metadata)
        row = find(client, name)
        after = shown(row)
    return result(before, after, row)


def as_text(script: Row) -> str:
    """For the diff: what describes the script, then the script."""
    described = "".join("%s: %s\n" % (name, script[name]) for name in sorted(script) if name != "content")
    return described + "\n" + script["content"] if script else ""


def result(before: Row, after: Row, row: t.Optional[Row]) -> Row:
    changed = before != after
    script = {name: value for name, value in after.items() if name != "content"}
    if after:
        script["id"] = row["id"] if row else None
        current = row is not None and shown(row)["content"] == after["content"]
        script["revision"] = row["history"][0]["id"] if row is not None and current else None
    return {
        "changed": changed,
        "script": script,
        "diff": {"before": as_text(before) if changed else "", "after": as_text(after) if changed else ""},
    }


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
            "path": {"type": "path"},
            "content": {"type": "str"},
            "name": {"type": "str"},
            "title": {"type": "str"},
            "description": {"type": "str"},
            "type": {"type": "str", "choices": ["commissioning", "testing"]},
            "tags": {"type": "list", "elements": "str"},
            "timeout_seconds": {"type": "int"},
            **connection_argument_spec(),
        },
        mutually_exclusive=[("path", "content")],
        supports_check_mode=True,
    )
    run_with_client(module, work)


if __name__ == "__main__":
    main()
