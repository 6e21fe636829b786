# -*- coding: utf-8 -*-
# Copyright: (c) 2026, The edge.rack engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What may go wrong with an ESXi host, said so that a person can mend it."""

from __future__ import annotations

import re
import typing as t


class EsxiError(Exception):
    """Something was asked of the host and was not done."""

    remedy = "See the host's log /var/log/hostd.log for the reason."

    def __init__(
        self, asked: str, answer: str, *, remedy: t.Optional[str] = None, fault: t.Optional[str] = None
    ) -> None:
        self.asked = asked
        self.answer = answer
        self.remedy = remedy or type(self).remedy
        self.fault = fault
        super().__init__("%s: %s. %s" % (asked, answer.strip().rstrip("."), self.remedy))

    def as_result(self) -> t.Dict[str, t.Any]:
        return {"asked": self.asked, "answer": self.answer, "remedy": self.remedy, "fault": self.fault}


class EsxiSettingsError(EsxiError):
    """An option cannot be used; nothing was asked of the host."""


class EsxiUnreachable(EsxiError):
    remedy = "Check `hostname`, the port, and that the host runs and can be reached from here."


class EsxiUntrusted(EsxiError):
    """The host's certificate or key is not known here."""


class EsxiLoginRefused(EsxiError):
    remedy = "Check `username` and `password` (environment VMWARE_USER, VMWARE_PASSWORD)."


class EsxiRestricted(EsxiError):
    remedy = "The free edition's API only reads: use `transport: auto` or `transport: ssh`."


class EsxiForbidden(EsxiError):
    remedy = "Give the user the permission, or take the host out of lockdown mode."


class EsxiNotFound(EsxiError):
    remedy = "Check the name; esxi_host_info lists what the host has."


class EsxiExists(EsxiError):
    remedy = "Choose another name, or remove what is there."


class EsxiNoSpace(EsxiError):
    remedy = "Free space on the datastore or choose another; esxi_host_info lists the free space."


class EsxiWrongState(EsxiError):
    remedy = "Bring it into a state that allows this."


class EsxiTimeout(EsxiError):
    """The deadline passed; the host may still be at it."""

    remedy = "The host may still do it: run again, what is done stays done; or raise the deadline."


KINDS = {
    "RestrictedVersion": EsxiRestricted,
    "NoPermission": EsxiForbidden,
    "InvalidLogin": EsxiLoginRefused,
    "NotFound": EsxiNotFound,
    "FileNotFound": EsxiNotFound,
    "ManagedObjectNotFound": EsxiNotFound,
    "AlreadyExists": EsxiExists,
    "FileAlreadyExists": EsxiExists,
    "DuplicateName": EsxiExists,
    "NoDiskSpace": EsxiNoSpace,
    "InsufficientStorageSpace": EsxiNoSpace,
    "InvalidPowerState": EsxiWrongState,
    "InvalidState": EsxiWrongState,
    "ResourceInUse": EsxiWrongState,
    "ToolsUnavailable": EsxiWrongState,
}


def error_for(asked: str, fault: str, answer: str) -> EsxiError:
    """The error for a fault of the API, such as ``vim.fault.NoDiskSpace``, by whichever way it came."""
    name = fault.rsplit(".", 1)[-1]
    kind = KINDS.get(name, EsxiError)
    return kind(asked, answer or name, fault=name)


NO_SPACE = re.compile(r"No space left on device|There is not enough space", re.IGNORECASE)
FAULT = re.compile(r"\((vim\.fault\.\w+|vmodl\.fault\.\w+)\)")
MESSAGE = re.compile(r'^\s*(?:msg|faultMessage)\s*=\s*"(.*)"\s*,?\s*$', re.MULTILINE)


def error_in_text(asked: str, text: str) -> t.Optional[EsxiError]:
    """The error which a command of the host printed, if it printed one: its exit code says little."""
    fault = FAULT.search(text)
    if fault:
        message = MESSAGE.search(text)
        return error_for(asked, fault.group(1), message.group(1).replace('""', '"') if message else "")
    if NO_SPACE.search(text):
        return EsxiNoSpace(asked, _one_line(text), fault="NoDiskSpace")
    return None


def _one_line(text: str) -> str:
    return " ".join(text.split())[:600]
