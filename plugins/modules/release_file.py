#!/usr/bin/python
# -*- coding: utf-8 -*-
# Copyright: (c) 2026, The edge.rack engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: release_file
short_description: Write a release into a site's release file
version_added: "0.1.0"
description:
  - Sets C(edge_release.name), C(edge_release.images.NAME.tag), C(edge_release.images.NAME.digest) and
    C(edge_release.model.digest) in a YAML file. Every other character, comments too, stays.
  - Refuses what it cannot edit without a doubt, and leaves the file as it was.
author:
  - The edge.rack engineers (@edge-rack)
requirements:
  - PyYAML
extends_documentation_fragment:
  - edge.rack.attributes
options:
  path:
    description: The release file.
    type: path
    required: true
  name:
    description: Name of the release. Left alone where it is not given.
    type: str
  tags:
    description: Tags by the names of images, each of which the file names.
    type: dict
    default: {}
  images:
    description: Digests by the names of images, each of which the file names.
    type: dict
    default: {}
  model_digest:
    description: Digest of the model. Left alone where it is not given, or the release has no model.
    type: str
"""

EXAMPLES = r"""
- name: Release is another one
  edge.rack.release_file:
    path: inventory/rack/group_vars/all/release.yml
    name: "2026.12"
    tags:
      predictor: "0.2.0"

- name: Release names what the registry holds
  edge.rack.release_file:
    path: inventory/rack/group_vars/all/release.yml
    images:
      worker: sha256:c0cc93d83122f8f1c5a1b9a5d2f7a2f3e5d1b3f8d7d6c1f2f0b4f6c9a8d7e6f5
    model_digest: sha256:79b3405fa1b8c63b0f8e4b6a5c3d2e1f0a9b8c7d6e5f4a3b2c1d0e9f8a7b6c5d
"""

RETURN = r"""
digests:
  description: Where each digest stands that was given.
  type: dict
  returned: success
  sample: {"images.worker": "sha256:c0cc93d83122f8f1c5a1b9a5d2f7a2f3e5d1b3f8d7d6c1f2f0b4f6c9a8d7e6f5"}
"""

import json
import os
import re
import traceback
import typing as t

from ansible.module_utils.basic import AnsibleModule, missing_required_lib

YAML_ERROR: str | None = None
try:
    import yaml
except ImportError:
    YAML_ERROR = traceback.format_exc()

DIGEST = re.compile(r"sha256:[0-9a-f]{64}")


class ReleaseFileError(Exception):
    """The file cannot be edited, and why."""


def edited(text: str, values: dict[str, str]) -> str:
    """The text with each value at its place, such as C(images.worker.digest); nothing else is changed."""
    try:
        wanted = _plain(text)
    except (yaml.YAMLError, TypeError) as error:
        raise ReleaseFileError("it is no YAML: %s" % error) from error
    for place, value in values.items():
        path = ["edge_release", *place.split(".")]
        text = _set(text, path, value)
        holder = wanted
        for key in path[:-1]:
            holder = holder[key]
        holder[path[-1]] = value
    # An anchor, or a value over several lines, would change more than its place.
    try:
        after = _plain(text)
    except yaml.YAMLError:
        after = None
    if after != wanted:
        raise ReleaseFileError("its form is not understood: write each image as `tag: ...` on a line of its own")
    return text


def _plain(text: str) -> t.Any:
    """What the text says, each alias a copy of its own."""
    return json.loads(json.dumps(yaml.safe_load(text), default=str))


def _set(text: str, path: list[str], value: str) -> str:
    node: t.Any = yaml.compose(text, Loader=yaml.SafeLoader)
    for depth, name in enumerate(path[:-1]):
        node = _entry(node, name)
        if not isinstance(node, yaml.MappingNode) or not node.value:
            raise ReleaseFileError("%s is not there, or no mapping" % ".".join(path[: depth + 1]))
    # A digest is a word; a name or a tag such as 2026.12 would be a number.
    written = value if DIGEST.fullmatch(value) else json.dumps(value)
    present = _entry(node, path[-1])
    if present is not None:
        start, end = present.start_mark.index, present.end_mark.index
        # However it is quoted: another writing of the same is no change.
        same = present.value == value and (present.style or present.tag == "tag:yaml.org,2002:str")
        return text if same else text[:start] + written + text[end:]
    key, last = node.value[0]
    if node.flow_style:
        return "%s, %s: %s%s" % (text[: last.end_mark.index], path[-1], written, text[last.end_mark.index :])
    line = text.find("\n", last.end_mark.index)
    end = len(text) if line < 0 else line
    return "%s\n%s%s: %s%s" % (text[:end], " " * key.start_mark.column, path[-1], written, text[end:])


def _entry(node: t.Any, key: str) -> t.Any:
    if not isinstance(node, yaml.MappingNode):
        return None
    return next((value for name, value in node.value if name.value == key), None)


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "path": {"type": "path", "required": True},
            "name": {"type": "str"},
            "tags": {"type": "dict", "default": {}},
            "images": {"type": "dict", "default": {}},
            "model_digest": {"type": "str"},
        },
        supports_check_mode=True,
    )
    if YAML_ERROR:
        module.fail_json(msg=missing_required_lib("PyYAML"), exception=YAML_ERROR)
    path = module.params["path"]
    digests = {"images.%s" % name: digest for name, digest in sorted(module.params["images"].items())}
    if module.params["model_digest"]:
        digests["model"] = module.params["model_digest"]
    values = {"name": module.params["name"]} if module.params["name"] else {}
    values |= {"images.%s.tag" % name: str(tag) for name, tag in sorted(module.params["tags"].items())}
    values |= {"%s.digest" % place: digest for place, digest in digests.items()}
    for place, digest in digests.items():
        if not DIGEST.fullmatch(str(digest)):
            module.fail_json(msg="%s: %r is no digest; wanted is sha256: and 64 hexadecimal digits." % (place, digest))
    try:
        with open(path, encoding="utf-8", newline="") as file:
            before = file.read()
        after = edited(before, values)
    except (OSError, UnicodeDecodeError, ReleaseFileError) as error:
        module.fail_json(msg="%s cannot be edited: %s" % (path, error))
    if after != before and not module.check_mode:
        temporary = os.path.join(module.tmpdir, "release.yml")
        with open(temporary, "w", encoding="utf-8", newline="") as file:
            file.write(after)
        module.atomic_move(temporary, path)
    module.exit_json(
        changed=after != before,
        digests=digests,
        diff={"before": before, "after": after, "before_header": path, "after_header": path},
    )


if __name__ == "__main__":
    main()
