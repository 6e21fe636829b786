# Copyright: (c) 2026, The edge.rack engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What stops a commit."""

from __future__ import annotations


class CommitError(Exception):
    """What is wrong and what to do, in one text."""


class EngineAwayError(CommitError):
    """The Docker Engine does not answer."""


class InterruptedCommitError(CommitError):
    """Somebody ends the program, as a shutdown does."""
