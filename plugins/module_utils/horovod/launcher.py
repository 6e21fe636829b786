# -*- coding: utf-8 -*-
# Copyright (c) The edge.rack engineers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The launcher's worker container: whatever is done for a job is done through it."""

from __future__ import annotations

import json
import traceback
import typing as t

try:
    import docker
    from docker.errors import APIError, DockerException, NotFound
except ImportError:
    HAS_DOCKER = False
    DOCKER_IMPORT_ERROR: t.Optional[str] = traceback.format_exc()
else:
    HAS_DOCKER = True
    DOCKER_IMPORT_ERROR = None


class LauncherError(Exception):
    """The launcher's container does not do what it should."""


class Launcher(object):
    """The worker container on this device; every file of a job is reached through it."""

    def __init__(self, docker_host, name):
        self.name = name
        try:
            self.api = docker.APIClient(base_url=docker_host, version="auto", timeout=120)
            self.running = self.api.inspect_container(name)["State"]["Running"]
        except NotFound:
            self.running = False
        except DockerException as error:
            raise LauncherError("Docker at %s: %s" % (docker_host, error))

    def require(self):
        if not self.running:
            raise LauncherError("container %s does not run on this device; start the job's workers first" % self.name)

    def call(self, command):
        """(status, stdout, stderr) of a command in the container."""
        try:
            handle = self.api.exec_create(self.name, command)["Id"]
            out, err = self.api.exec_start(handle, demux=True)
            return self.api.exec_inspect(handle)["ExitCode"], (out or b"").decode(), (err or b"").decode()
        except APIError as error:
            raise LauncherError("container %s refuses %s: %s" % (self.name, command[0], error.explanation or error))

    def start(self, command):
        """Start a command that goes on by itself; what to ask `finished` with."""
        try:
            handle = self.api.exec_create(self.name, command)["Id"]
            self.api.exec_start(handle, detach=True)
        except APIError as error:
            raise LauncherError("container %s refuses to start: %s" % (self.name, error.explanation or error))
        return handle

    def finished(self, handle):
        """The exit status, or None while it runs."""
        try:
            state = self.api.exec_inspect(handle)
        except NotFound:
            raise LauncherError("container %s was removed or restarted while the training ran" % self.name)
        if state["Running"]:
            return None
        return -1 if state["ExitCode"] is None else state["ExitCode"]

    def read(self, path):
        """A file's text, or None; without the container, from the device's folder of the same path."""
        if self.running:
            status, out, _err = self.call(["cat", path])
            return out if status == 0 else None
        try:
            with open(path, "rb") as file:
                return file.read().decode()
        except OSError:
            return None

    def write_json(self, path, value):
        """The file has its name only when it is whole."""
        script = 'printf "%s\\n" "$2" >"$1.part" && mv "$1.part" "$1"'
        status, _out, err = self.call(["sh", "-c", script, "write", path, json.dumps(value, indent=2)])
        if status:
            raise LauncherError("%s cannot be written: %s" % (path, err.strip()[-300:]))

    def read_json(self, path):
        """A file's value, or None."""
        try:
            return json.loads(self.read(path) or "null")
        except ValueError:
            return None
