# Copyright: (c) 2026, The edge.rack engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A bare repository with the role's hook, and an operator's checkout that pushes to it: real git, real keys."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[3]
HOOK = """\
#!{python}
import sys
from pathlib import Path

sys.path[:0] = [{hook!r}, {trust!r}]
import edge_git_receive

sys.exit(edge_git_receive.main(Path({folder!r})))
"""


class SiteRepository:
    def __init__(self, folder: Path) -> None:
        self.folder, self.checkout, self.bare = folder, folder / "checkout", folder / "site.git"
        self.environment = {
            "PATH": "/usr/local/bin:/usr/bin:/bin",
            "HOME": str(folder),
            "GIT_CONFIG_NOSYSTEM": "1",
            # Kept, or each push compiles the hook anew; and beside the checkout, parts of which are packed.
            "PYTHONPYCACHEPREFIX": sys.pycache_prefix or str(CHECKOUT / "tests/output/pycache"),
        }
        for name in ("alice", "mallory"):
            options = ["-q", "-t", "ed25519", "-N", "", "-C", name, "-f", str(folder / name)]
            subprocess.run(["ssh-keygen", *options], check=True, timeout=60)
        (folder / "allowed_signers").write_text(f'alice namespaces="git" {(folder / "alice.pub").read_text()}')
        (folder / "revoked_keys").write_text("# none\n")
        self.git("init", "--quiet", "--bare", "--initial-branch=main", str(self.bare), at=folder)
        hook = self.bare / "hooks/pre-receive"
        hook.write_text(
            HOOK.format(
                python=sys.executable,
                hook=str(CHECKOUT / "roles/control_node/files"),
                trust=str(CHECKOUT / "roles/trust/files"),
                folder=str(folder),
            )
        )
        hook.chmod(0o755)
        self.git("init", "--quiet", "--initial-branch=main", str(self.checkout), at=folder)
        for name, value in {
            "user.name": "Alice",
            "user.email": "alice@example.com",
            "gpg.format": "ssh",
            "user.signingkey": str(folder / "alice"),
            "commit.gpgsign": "true",
            "advice.pushUpdateRejected": "false",
        }.items():
            self.git("config", name, value)
        self.git("remote", "add", "origin", str(self.bare))

    def commit(self, files: dict[str, str] | None = None, *options: str, signer: str = "alice") -> str:
        """Commit these files (path -> content), signed by `signer` unless the options say otherwise; its name."""
        for path, content in (files or {"release.yml": "edge_release: {name: '1'}\n"}).items():
            file = self.checkout / path
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(content)
        self.git("add", "--all")
        signing = ["-c", f"user.signingkey={self.folder / signer}"]
        self.git(*signing, "commit", "--quiet", "--allow-empty", "--message=release", *options)
        return self.git("rev-parse", "HEAD").strip()

    def push(self, *words: str) -> tuple[bool, str]:
        """Whether it was taken, and what the operator saw, in one line."""
        done = self._run(self.checkout, "push", "--quiet", "origin", *words)
        return done.returncode == 0, " ".join(done.stderr.replace("remote:", "").split())

    def head(self, ref: str = "main") -> str:
        """The commit that the bare repository has there; empty where it has none."""
        return self._run(self.bare, "rev-parse", "--quiet", "--verify", ref).stdout.strip()

    def git(self, *arguments: str, at: Path | None = None) -> str:
        done = self._run(at or self.checkout, *arguments)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def _run(self, folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["git", "-C", str(folder), *arguments],
            env=self.environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
