# -*- coding: utf-8 -*-
# Copyright: (c) 2026, The edge.rack engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What may go wrong with a registry, said so that a person can mend it."""

from __future__ import annotations

import json
import typing as t


class RegistryError(Exception):
    """Something was asked and was not done."""

    remedy = "See the registry's log for the reason."

    def __init__(
        self,
        asked: str,
        answer: str,
        *,
        status: t.Optional[int] = None,
        codes: t.Sequence[str] = (),
        remedy: t.Optional[str] = None,
    ) -> None:
        self.asked = asked
        self.answer = answer.strip().rstrip(".")
        self.status = status
        self.codes = list(codes)
        self.retry_after = 0.0
        self.remedy = remedy or type(self).remedy
        said = self.answer if status is None else "the registry answered %d: %s" % (status, self.answer)
        super().__init__("%s: %s. %s" % (asked, said, self.remedy))

    def as_result(self) -> t.Dict[str, t.Any]:
        return {
            "asked": self.asked,
            "status": self.status,
            "codes": self.codes,
            "answer": self.answer,
            "remedy": self.remedy,
        }


class RegistrySettingsError(RegistryError):
    """An option cannot be used; nothing was asked of the registry."""


class RegistryUnreachable(RegistryError):
    remedy = "Check `registry_url`, and that the registry runs and can be reached from here."


class RegistryUntrusted(RegistryError):
    remedy = "Name the certificate authority in `ca_path`; `validate_certs: false` turns the check off."


class RegistryUnauthorized(RegistryError):
    remedy = "Check `registry_username` and `registry_password` (environment REGISTRY_USERNAME, REGISTRY_PASSWORD)."


class RegistryDenied(RegistryError):
    remedy = "Use an account that may do this; on the rack's registry only `push` accounts may push."


class RegistryNotFound(RegistryError):
    remedy = "Check the names; registry_image_info lists what the registry has."


class RegistryUnsupported(RegistryError):
    remedy = "The registry does not allow this: deletion may be off (storage.delete.enabled), or it is read-only."


class RegistryBusy(RegistryError):
    remedy = "Repeat it later, or raise `registry_retry_seconds`; a clean-up refuses pushes for some minutes."


class RegistryCorrupt(RegistryError):
    """Content is not what its digest says."""

    remedy = "The content is damaged: push the image again, or restore the registry from its backup."


def error_for(asked: str, status: int, content: bytes) -> RegistryError:
    """The error of an answer; its body is that of the OCI distribution spec ("Error Codes") or any text."""
    codes, answer = read_error_body(content)
    kinds = {
        401: RegistryUnauthorized,
        403: RegistryDenied,
        404: RegistryNotFound,
        405: RegistryUnsupported,
        429: RegistryBusy,
        503: RegistryBusy,
    }  # type: t.Dict[int, t.Type[RegistryError]]
    kind = RegistryUnsupported if "UNSUPPORTED" in codes else kinds.get(status, RegistryError)
    return kind(asked, answer or "no reason given", status=status, codes=codes)


def read_error_body(content: bytes) -> t.Tuple[t.List[str], str]:
    """Codes and one line of text."""
    text = content.decode("utf-8", "replace")
    try:
        errors = json.loads(text)["errors"]
        codes = [str(error.get("code", "")) for error in errors]
        lines = ["%s: %s" % (error.get("code", ""), error.get("message", "")) for error in errors]
    except (ValueError, KeyError, TypeError, AttributeError):
        return [], " ".join(text.split())[:300]
    return codes, "; ".join(lines)
