# -*- coding: utf-8 -*-
# Copyright: (c) 2026, The edge.rack engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Commands on an ESXi host over SSH, by paramiko: the way which the free edition leaves open.

The host's programs print what went wrong and mostly exit with 0, so that the text is read first.
"""

from __future__ import annotations

import contextlib
import re
import secrets
import shlex
import socket
import time
import traceback
import typing as t
from dataclasses import dataclass

from ansible_collections.edge.rack.plugins.module_utils.esxi.errors import (
    EsxiError,
    EsxiLoginRefused,
    EsxiSettingsError,
    EsxiTimeout,
    EsxiUnreachable,
    EsxiUntrusted,
    error_in_text,
)

PARAMIKO_IMPORT_ERROR = None  # type: t.Optional[str]
try:
    import paramiko
except ImportError:
    PARAMIKO_IMPORT_ERROR = traceback.format_exc()
    SSHException = Exception  # type: t.Any
else:
    SSHException = paramiko.SSHException

if t.TYPE_CHECKING:
    from ansible_collections.edge.rack.plugins.module_utils.esxi.connection import EsxiConnection

Argv = t.Sequence[str]

CHUNK_BYTES = 1 << 18
POLL_SECONDS = 0.02


@dataclass(frozen=True)
class Output:
    """What one command printed (both streams) and its exit code."""

    asked: str
    text: str
    code: int

    @property
    def error(self) -> t.Optional[EsxiError]:
        """What the command says that went wrong; the exit code counts where the text is silent."""
        found = error_in_text(self.asked, self.text)
        if found is None and self.code != 0:
            found = EsxiError(self.asked, " ".join(self.text.split())[:600] or "it ended with %d" % self.code)
        return found

    def checked(self) -> str:
        error = self.error
        if error is not None:
            raise error
        return self.text


class ShellSession:
    """An SSH connection. Words are quoted for the host's shell, whatever is in them."""

    transport = "ssh"

    def __init__(self, connection: EsxiConnection, why: str) -> None:
        self.connection = connection
        self.why = why
        self._client = _connect(connection)

    def close(self) -> None:
        self._client.close()

    def require_writes(self) -> None:
        """SSH may write on every licence."""

    def run(self, *argv: str, timeout_seconds: float = 120, asked: t.Optional[str] = None) -> Output:
        """Run one command."""
        return self._exec(shlex.join(argv), asked or shlex.join(argv), timeout_seconds)

    def run_all(self, *commands: Argv, timeout_seconds: float = 120) -> t.List[Output]:
        """Run several commands, each whatever the one before came to, in one exchange with the host."""
        mark = "edge-%s" % secrets.token_hex(8)
        lines = ["%s 2>&1; code=$?; echo; echo %s $code" % (shlex.join(argv), mark) for argv in commands]
        text = self._exec("\n".join(lines), "; ".join(shlex.join(argv) for argv in commands), timeout_seconds).text
        parts = re.split(r"\n%s (\d+)\n" % mark, text)
        if len(parts) != 2 * len(commands) + 1:
            # What they printed is not told: it may be a .vmx, with the secrets of a guest.
            said = "the host's shell broke off after %d of %d commands" % ((len(parts) - 1) // 2, len(commands))
            raise EsxiError("; ".join(shlex.join(argv) for argv in commands), said)
        return [Output(shlex.join(argv), parts[2 * i], int(parts[2 * i + 1])) for i, argv in enumerate(commands)]

    def script(self, text: str, asked: str, timeout_seconds: float = 120) -> Output:
        """Run lines of shell; what is put into them must be quoted with `quote`."""
        return self._exec(text, asked, timeout_seconds)

    def run_disk_tool(self, *words: str, asked: str, timeout_seconds: float) -> None:
        """Run vmkfstools, which may end with 0 though it says that it failed; before that stand lines of progress."""
        text = self.run("vmkfstools", *words, asked=asked, timeout_seconds=timeout_seconds).checked()
        if "Failed to" in text:
            raise EsxiError(asked, " ".join(text.split())[-600:])

    def write(
        self,
        path: str,
        chunks: t.Iterable[bytes],
        *,
        append: bool = False,
        timeout_seconds: float = 120,
    ) -> None:
        """Write a file of the host; the deadline counts anew for each chunk.

        It lands beside its place first, unless it is appended to, so that no half file has its name.
        """
        target = path if append else "%s.partial" % path
        asked = "Writing %s" % path
        sent = [0]
        try:
            self._exec(
                "cat %s %s" % (">>" if append else ">", quote(target)), asked, timeout_seconds, _counted(chunks, sent)
            ).checked()
            if not append:
                # A connection that breaks looks to `cat` like the end: only its size tells that the file is whole.
                whole = "test $(stat -c %%s %s) -eq %d" % (quote(target), sent[0])
                self._exec("%s && mv %s %s" % (whole, quote(target), quote(path)), asked, timeout_seconds).checked()
        except EsxiError:
            if not append:
                # What a full datastore took in part is no use to anybody.
                with contextlib.suppress(EsxiError):
                    self.run("rm", "-f", target)
            raise

    def _exec(
        self, command: str, asked: str, timeout_seconds: float, stdin: t.Optional[t.Iterable[bytes]] = None
    ) -> Output:
        received = []  # type: t.List[bytes]
        try:
            transport = self._client.get_transport()
            if transport is None:
                raise EsxiUnreachable(asked, "the SSH connection to %s is closed" % self.connection.hostname)
            channel = transport.open_session(timeout=self.connection.connection_timeout_seconds)
            channel.settimeout(timeout_seconds)
            channel.set_combine_stderr(True)
            channel.exec_command(command)
            _feed(channel, stdin or ())
            deadline = time.monotonic() + timeout_seconds
            while True:
                channel.settimeout(max(POLL_SECONDS, deadline - time.monotonic()))
                data = channel.recv(CHUNK_BYTES)
                if not data:
                    break
                received.append(data)
            code = channel.recv_exit_status()
            channel.close()
        except socket.timeout as error:
            raise EsxiTimeout(asked, "not done within %d s" % timeout_seconds) from error
        except (OSError, EOFError, paramiko.SSHException) as error:
            answer = "the SSH connection to %s broke (%s)" % (self.connection.hostname, error or type(error).__name__)
            raise EsxiUnreachable(asked, answer, remedy="Run again: what is done stays done.") from error
        text = b"".join(received).decode("utf-8", "replace")
        if code == -1:
            raise EsxiUnreachable(asked, "the SSH connection to %s broke" % self.connection.hostname)
        return Output(asked, text, code)


def _counted(chunks: t.Iterable[bytes], total: t.List[int]) -> t.Iterator[bytes]:
    for chunk in chunks:
        total[0] += len(chunk)
        yield chunk


def _feed(channel: t.Any, chunks: t.Iterable[bytes]) -> None:
    """Send a command its input; one that ends early, of a full datastore say, tells why in what it prints."""
    for chunk in chunks:
        try:
            channel.sendall(chunk)
        except socket.timeout:
            raise
        except OSError:
            if not channel.exit_status_ready():
                raise
            return
    with contextlib.suppress(OSError, EOFError):
        channel.shutdown_write()


def quote(word: str) -> str:
    """One word for the host's shell."""
    return shlex.quote(word)


def _connect(connection: EsxiConnection) -> t.Any:
    where = "%s port %d" % (connection.hostname, connection.ssh_port)
    asked = "Connecting by SSH to %s" % where
    client = paramiko.SSHClient()
    _trust(client, connection)
    try:
        client.connect(
            connection.hostname,
            port=connection.ssh_port,
            username=connection.username,
            # By key where one is named, so that a host which takes keys only is not asked in vain.
            password=None if connection.ssh_private_key_file else connection.password,
            key_filename=connection.ssh_private_key_file,
            look_for_keys=False,
            allow_agent=connection.password is None and connection.ssh_private_key_file is None,
            timeout=connection.connection_timeout_seconds,
            banner_timeout=connection.connection_timeout_seconds,
            auth_timeout=connection.connection_timeout_seconds,
        )
    except paramiko.BadHostKeyException as error:
        raise EsxiUntrusted(
            asked,
            "the host's key has changed: %s" % _fingerprint(error.key),
            remedy="Compare it with the host's console; if it is right, put it into `ssh_host_key` or the known hosts.",
        ) from error
    except paramiko.AuthenticationException as error:
        raise EsxiLoginRefused(
            asked,
            "the host refuses %s (%s)" % (connection.username, error),
            remedy=EsxiLoginRefused.remedy
            + " With a key: `ssh_private_key_file` must be in the host's authorized_keys.",
        ) from error
    except (OSError, EOFError, paramiko.SSHException) as error:
        if isinstance(error, _UnknownKey):
            raise EsxiUntrusted(
                asked,
                "its key is not known: %s" % _fingerprint(error.key),
                remedy="Compare it with the host's console; if it is right, set `ssh_host_key: %s %s`."
                % (error.key.get_name(), error.key.get_base64()),
            ) from error
        raise EsxiUnreachable(
            asked,
            str(error) or type(error).__name__,
            remedy="Switch on the service TSM-SSH of the host (free edition: the only way to change it).",
        ) from error
    client.get_transport().set_keepalive(15)
    # A command is a few small packets: held back until the last one is acknowledged they take 40 ms more each.
    client.get_transport().sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return client


class _UnknownKey(SSHException):
    def __init__(self, key: t.Any) -> None:
        super().__init__("unknown host key")
        self.key = key


class _Refuse:
    def missing_host_key(self, client: t.Any, hostname: str, key: t.Any) -> None:
        raise _UnknownKey(key)


def _trust(client: t.Any, connection: EsxiConnection) -> None:
    client.set_missing_host_key_policy(_Refuse())
    if not connection.validate_host_key:
        client.set_missing_host_key_policy(paramiko.AutoAddPolicy())
        return
    if connection.ssh_host_key:
        name = (
            connection.hostname if connection.ssh_port == 22 else "[%s]:%d" % (connection.hostname, connection.ssh_port)
        )
        words = connection.ssh_host_key.split()
        if len(words) > 2 and words[2].startswith("AAAA"):
            words = words[1:]  # a line of `ssh-keyscan` begins with the host
        line = " ".join([name, *words])
        entry = None
        with contextlib.suppress(Exception):
            entry = paramiko.hostkeys.HostKeyEntry.from_line(line)
        if entry is None or entry.key is None:
            raise EsxiSettingsError(
                "Reading `ssh_host_key`",
                "it is no public key",
                remedy="It looks like `ssh-ed25519 AAAA...`: `ssh-keyscan HOST` prints it.",
            )
        client.get_host_keys().add(name, entry.key.get_name(), entry.key)
        return
    if connection.ssh_known_hosts:
        client.load_system_host_keys(connection.ssh_known_hosts)
        return
    client.load_system_host_keys()
    with contextlib.suppress(OSError):
        client.load_system_host_keys("/etc/ssh/ssh_known_hosts")


def _fingerprint(key: t.Any) -> str:
    return "%s %s" % (key.get_name(), key.fingerprint)
