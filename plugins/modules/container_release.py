#!/usr/bin/python
# -*- coding: utf-8 -*-
# Copyright: (c) 2026, The edge.rack engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: container_release
short_description: Replace a container of a device, and keep the new one only if it is healthy
version_added: "0.1.0"
description:
  - Runs C(edge-commit) on the device, which the role P(edge.rack.health_gate#role) installs. It creates the new
    container beside the old one, stops the old, starts the new and waits for its health. Only then the old one is
    removed; else it is put back, also after a power cut in the middle and without a controller.
  - The image must be on the device already, as the role P(edge.rack.release#role) brings it.
  - A container which is the wanted one but stands still or is unhealthy is started again.
  - Where only O(model) differs the container goes on running, and its own program C(activate) has it serve the other
    model. No request fails, so a training is not waited for. A model that it refuses leaves the one before.
author:
  - The edge.rack engineers (@edge-rack)
requirements:
  - C(edge-commit) on the device
extends_documentation_fragment:
  - edge.rack.attributes
options:
  name:
    description:
      - Name of the container. C(NAME.next) and C(NAME.previous) are taken while it is replaced.
    type: str
    required: true
  image:
    description:
      - The image by digest, C(REGISTRY/NAME@sha256:DIGEST). The same digest from another registry is no change.
    type: str
    required: true
  command:
    description: Command and arguments; without it the image's own.
    type: list
    elements: str
  env:
    description: Environment. C(docker inspect) and C(--diff) show it, so a secret belongs in a file of O(volumes).
    type: dict
  volumes:
    description: Folders of the device, C(SOURCE:TARGET[:ro]).
    type: list
    elements: str
  published_ports:
    description: Ports, C([ADDRESS:]PORT:CONTAINER_PORT[/PROTOCOL]).
    type: list
    elements: str
  network_mode:
    description: Network, such as C(host); without it the engine's default.
    type: str
  user:
    description: User in the container; without it the image's own.
    type: str
  memory:
    description: Most memory, such as C(512m).
    type: str
  cpus:
    description: Most processor cores.
    type: float
  pids_limit:
    description: Most processes.
    type: int
  read_only:
    description: Whether the container's root file system is read-only.
    type: bool
    default: false
  tmpfs:
    description: Folders in memory.
    type: list
    elements: str
  cap_drop:
    description: Capabilities to drop.
    type: list
    elements: str
  security_opts:
    description: Security options, such as C(no-new-privileges).
    type: list
    elements: str
  init:
    description: Whether an init process of the engine reaps processes.
    type: bool
    default: false
  restart_policy:
    description: When the engine starts it again. It holds from the commit on.
    type: str
    choices: ["no", always, on-failure, unless-stopped]
    default: unless-stopped
  labels:
    description: Labels.
    type: dict
  healthcheck:
    description: How the engine sees its health; without it as the image says.
    type: dict
    suboptions:
      test:
        description: Command, such as V([CMD, ready]).
        type: list
        elements: str
        required: true
      interval_seconds:
        description: Time between two checks.
        type: float
      timeout_seconds:
        description: How long a check may take.
        type: float
      start_period_seconds:
        description: How long failures do not count after the start.
        type: float
      retries:
        description: How many failures in a row make it unhealthy.
        type: int
  health_url:
    description: An address of the device itself, C(http://127.0.0.1:PORT/PATH), which must answer 200 as well.
    type: str
  health_deadline_seconds:
    description: How long the new container may take to be healthy.
    type: float
    default: 60
  stop_seconds:
    description: How long the old container may take to end.
    type: int
    default: 10
  retry_failed:
    description: Whether the very same image and options are tried again after they were unhealthy.
    type: bool
    default: true
  model:
    description: Digest of the model which the container serves, C(sha256:DIGEST).
    type: str
  model_file:
    description: File of the device which says what the container serves when it starts. O(volumes) has its folder.
    type: path
  defer_container:
    description: While C(mpirun) or C(orted) runs in this container the device trains, and nothing is replaced.
    type: str
    default: edge-worker
  defer_checkpoints_dir:
    description:
      - Where the training marks its checkpoints, each as C(JOB/whole). Once one is younger than the first deferral, the
        container is replaced beside the training, which loses nothing by it.
      - Set it to an empty text to wait for the training's end.
    type: str
    default: /var/lib/edge/checkpoints
  defer_max_seconds:
    description: How long a training may put it off, from the first time on.
    type: int
    default: 86400
  defer_then:
    description:
      - What to do after that. V(force) replaces during the training, V(wait) still waits for its end, V(fail) waits and
        fails.
    type: str
    choices: [force, wait, fail]
    default: force
  force:
    description: Whether to replace during a training at once.
    type: bool
    default: false
  program:
    description: C(edge-commit) on the device.
    type: path
    default: /usr/local/sbin/edge-commit
"""

EXAMPLES = r"""
- name: Predictor is the released one
  edge.rack.container_release:
    name: edge-predictor
    image: registry.example.com/edge/predictor@sha256:03dec150a68391cd1f2b5f6c27ad3b0f5c1bd7c9d4b7f2fcb7c7e0a0c3d9e1a4
    published_ports: ["192.0.2.11:8480:8480"]
    volumes: ["/var/lib/edge/models:/models:ro"]
    healthcheck:
      test: [CMD, ready]
      interval_seconds: 10
    health_deadline_seconds: 60
  register: predictor
"""

RETURN = r"""
action:
  description:
    - What was done, or would be in check mode. V(none), V(created), V(replaced), V(activated) where only the model is
      another, V(started), V(restarted), V(deferred) or V(rolled back).
  type: str
  returned: always
  sample: replaced
deferred:
  description: Whether a training puts it off. The container is still the old one.
  type: bool
  returned: always
deferred_seconds:
  description: Since when a training puts it off.
  type: int
  returned: always
digest:
  description: Digest of the wanted image.
  type: str
  returned: always
previous_digest:
  description: Digest of the image which the container had; its image is kept on the device.
  type: str
  returned: always
log:
  description: Last lines of a container which was not healthy.
  type: list
  elements: str
  returned: always
"""

import json
import subprocess

from ansible.module_utils.basic import AnsibleModule

# Of the container; they are compared as they stand here.
OPTIONS = {
    "command": {"type": "list", "elements": "str"},
    "env": {"type": "dict"},
    "volumes": {"type": "list", "elements": "str"},
    "published_ports": {"type": "list", "elements": "str"},
    "network_mode": {"type": "str"},
    "user": {"type": "str"},
    "memory": {"type": "str"},
    "cpus": {"type": "float"},
    "pids_limit": {"type": "int"},
    "read_only": {"type": "bool", "default": False},
    "tmpfs": {"type": "list", "elements": "str"},
    "cap_drop": {"type": "list", "elements": "str"},
    "security_opts": {"type": "list", "elements": "str"},
    "init": {"type": "bool", "default": False},
    "restart_policy": {
        "type": "str",
        "choices": ["no", "always", "on-failure", "unless-stopped"],
        "default": "unless-stopped",
    },
    "labels": {"type": "dict"},
    "healthcheck": {
        "type": "dict",
        "options": {
            "test": {"type": "list", "elements": "str", "required": True},
            "interval_seconds": {"type": "float"},
            "timeout_seconds": {"type": "float"},
            "start_period_seconds": {"type": "float"},
            "retries": {"type": "int"},
        },
    },
}
# More than edge-commit needs besides the two it is told: for its locks, its engine, and what it puts back.
SPARE_SECONDS = 300


def wanted(params: dict, check: bool) -> dict:
    """What edge-commit reads; options which were not given are left out."""
    options = {}
    for name in OPTIONS:
        value = params[name]
        if isinstance(value, dict):
            value = {key: one for key, one in value.items() if one is not None}
            if name != "healthcheck":
                value = {key: str(one) for key, one in value.items()}
        if value not in (None, False, [], {}):
            options[name] = value
    defer = {
        "container": params["defer_container"],
        "checkpoints_dir": params["defer_checkpoints_dir"],
        "max_seconds": params["defer_max_seconds"],
        "then": params["defer_then"],
    }
    same = (
        "name",
        "image",
        "health_url",
        "health_deadline_seconds",
        "stop_seconds",
        "retry_failed",
        "model",
        "model_file",
    )
    return {
        **{name: params[name] for name in same},
        "options": options,
        "defer": {} if params["force"] else defer,
        "check": check,
    }


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "name": {"type": "str", "required": True},
            "image": {"type": "str", "required": True},
            **OPTIONS,
            "health_url": {"type": "str"},
            "health_deadline_seconds": {"type": "float", "default": 60},
            "stop_seconds": {"type": "int", "default": 10},
            "retry_failed": {"type": "bool", "default": True},
            "model": {"type": "str"},
            "model_file": {"type": "path"},
            "defer_container": {"type": "str", "default": "edge-worker"},
            "defer_checkpoints_dir": {"type": "str", "default": "/var/lib/edge/checkpoints"},
            "defer_max_seconds": {"type": "int", "default": 86400},
            "defer_then": {"type": "str", "choices": ["force", "wait", "fail"], "default": "force"},
            "force": {"type": "bool", "default": False},
            "program": {"type": "path", "default": "/usr/local/sbin/edge-commit"},
        },
        required_together=[("model", "model_file")],
        supports_check_mode=True,
    )
    params = module.params
    seconds = params["health_deadline_seconds"] + params["stop_seconds"] + SPARE_SECONDS
    try:
        # In a session of its own it comes to its end where the connection to the controller does not.
        done = subprocess.run(  # noqa: S603 - no shell
            [params["program"], "apply"],
            input=json.dumps(wanted(params, module.check_mode)),
            capture_output=True,
            text=True,
            timeout=seconds,
            start_new_session=True,
            check=False,
        )
    except OSError as error:
        module.fail_json(
            msg="%s does not start: %s. Set the device up first (edge.rack.configure)." % (params["program"], error)
        )
    except subprocess.TimeoutExpired:
        module.fail_json(
            msg="%s did not end within %d seconds; `edge-commit status` tells more." % (params["program"], seconds)
        )
    try:
        result = json.loads(done.stdout)
    except ValueError:
        module.fail_json(msg=done.stderr.strip() or "%s ended with %d" % (params["program"], done.returncode))
    result["deferred"] = result["action"] == "deferred"
    if result.pop("failed"):
        module.fail_json(**result)
    if not result["msg"]:
        del result["msg"]
    module.exit_json(**result)


if __name__ == "__main__":
    main()
