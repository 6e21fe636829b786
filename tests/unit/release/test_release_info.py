# Copyright: (c) 2026, The edge.rack engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A site's releases, as real git has them."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.edge.rack.plugins.modules import release_info

from tests.unit.module_runs import RunModule

FILE = "inventory/rack/group_vars/all/release.yml"


class Site:
    """A work tree with a bare remote."""

    def __init__(self, folder: Path) -> None:
        self.top, self.remote = folder / "site", folder / "site.git"
        self.path = self.top / FILE
        self.path.parent.mkdir(parents=True)
        self.git("init", "--quiet", "--bare", "--initial-branch=main", str(self.remote), at=folder)
        self.git("init", "--quiet", "--initial-branch=main", str(self.top), at=folder)
        self.git("remote", "add", "origin", str(self.remote))

    def git(self, *arguments: str, at: Path | None = None) -> str:
        identity = ("-c", "user.name=alice", "-c", "user.email=alice@edge", "-c", "commit.gpgsign=false")
        command = ["git", *identity, *arguments]
        return subprocess.run(command, cwd=at or self.top, check=True, capture_output=True, text=True).stdout.strip()

    def release(self, name: str, comment: str = "") -> str:
        self.path.write_text(f'# {comment}\nedge_release: {{name: "{name}", images: {{worker: {{tag: "{name}"}}}}}}\n')
        self.git("add", "--all")
        self.git("commit", "--quiet", f"--message=Release {name}")
        return self.git("rev-parse", "HEAD")


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Site:
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", "/dev/null")
    return Site(tmp_path)


def ask(run_module: RunModule, site: Site, **options: Any) -> dict[str, Any]:
    found: dict[str, Any] = run_module(release_info, path=str(site.path), **options)
    return found


def test_releases_are_told_newest_first_each_by_the_commit_that_brought_it(run_module: RunModule, site: Site) -> None:
    first = site.release("2026.11")
    site.release("2026.11", comment="of a person")  # beside it, and to be kept
    second = site.release("2026.12")
    back = site.release("2026.11")
    found = ask(run_module, site)
    told = [(one["name"], one["commit"]) for one in found["releases"]]
    assert told == [("2026.11", back), ("2026.12", second), ("2026.11", first)]
    assert found["releases"][0]["by"] == "alice <alice@edge>"
    assert found["releases"][1]["release"]["images"] == {"worker": {"tag": "2026.12"}}
    assert found["releases"][2]["text"].startswith("# of a person\n")
    assert found["releases"][1]["text"].startswith("# \nedge_release: ")
    assert found["released"] == {}
    assert (found["head"], found["branch"], found["file"]) == (back, "main", FILE)
    assert not found["changed"]


def test_what_was_merged_counts_from_its_merge(run_module: RunModule, site: Site) -> None:
    site.release("2026.11")
    site.git("checkout", "--quiet", "-b", "next")
    site.release("2026.12")
    site.git("checkout", "--quiet", "main")
    site.git("merge", "--quiet", "--no-ff", "--message=merged", "next")
    found = ask(run_module, site)["releases"]
    assert (found[0]["name"], found[0]["commit"]) == ("2026.12", site.git("rev-parse", "HEAD"))


def test_what_is_not_committed_is_named(run_module: RunModule, site: Site) -> None:
    site.release("2026.11")
    site.path.write_text("edge_release: {name: other}\n")
    (site.top / "a new file").write_text("")
    assert sorted(ask(run_module, site)["changed_files"]) == ["a new file", FILE]


def test_a_release_of_somebody_else_is_counted_once_the_remote_was_asked(run_module: RunModule, site: Site) -> None:
    site.release("2026.11")
    site.git("push", "--quiet", "origin", "main")
    theirs = site.release("2026.12")
    site.git("push", "--quiet", "origin", "main")
    site.git("reset", "--quiet", "--hard", "HEAD~1")
    site.git("update-ref", "refs/remotes/origin/main", "HEAD")
    found = ask(run_module, site)
    assert (found["behind"], found["released"]["name"]) == (0, "2026.11")
    found = ask(run_module, site, fetch=True)
    assert (found["behind"], found["remote_head"], found["released"]["name"]) == (1, theirs, "2026.12")


def test_a_site_that_never_released_has_no_history(run_module: RunModule, site: Site) -> None:
    site.path.write_text("edge_release: {name: first}\n")
    found = ask(run_module, site, fetch=True)
    assert (found["head"], found["remote_head"], found["releases"], found["released"]) == ("", "", [], {})


def test_a_folder_without_git_and_a_remote_that_is_away_are_named(
    run_module: RunModule, site: Site, tmp_path: Path
) -> None:
    path = tmp_path / "release.yml"
    assert "is not there" in run_module(release_info, path=str(path))["msg"]
    path.write_text("")
    assert (
        "cannot be released from: git rev-parse: fatal: not a git repository"
        in (run_module(release_info, path=str(path))["msg"])
    )
    site.release("2026.11")
    site.git("remote", "set-url", "origin", str(tmp_path / "nowhere"))
    assert "git fetch: fatal:" in ask(run_module, site, fetch=True)["msg"]
