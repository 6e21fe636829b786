# Copyright: (c) 2026, The edge.rack engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the site's repository takes, and what it says of what it refuses."""

from __future__ import annotations

import pytest
from site_repository import SiteRepository

PRIVATE_KEY = "-----BEGIN OPENSSH PRIVATE KEY-----\nb3BlbnNzaC1rZXk=\n"
VAULT = "password: !vault |\n  $ANSIBLE_VAULT;1.1;AES256\n  6162\n"


def test_signed_commits_are_taken(site: SiteRepository) -> None:
    site.commit({"hosts.yml": "all: {}\n"})
    last = site.commit({"release.yml": "edge_release: {}\n"})
    assert site.push("main") == (True, "")
    assert site.head() == last


def test_a_tag_of_a_signed_commit_is_taken(site: SiteRepository) -> None:
    last = site.commit()
    site.git("tag", "--annotate", "--message=x", "2026.11")
    assert site.push("main", "2026.11") == (True, "")
    assert site.head("2026.11^{commit}") == last


def test_an_unsigned_commit_is_refused_by_name(site: SiteRepository) -> None:
    commit = site.commit(None, "--no-gpg-sign")
    taken, said = site.push("main")
    assert not taken
    assert f"refused: commit {commit[:12]} is not signed" in said
    assert "git commit --amend --no-edit -S" in said
    assert site.head() == ""


def test_a_strangers_commit_is_refused(site: SiteRepository) -> None:
    commit = site.commit(signer="mallory")
    taken, said = site.push("main")
    assert not taken
    assert f"commit {commit[:12]}: signed with SHA256:" in said
    assert "which is no signer of" in said


def test_a_revoked_signers_commit_is_refused(site: SiteRepository) -> None:
    site.commit()
    (site.folder / "revoked_keys").write_text((site.folder / "alice.pub").read_text())
    taken, said = site.push("main")
    assert not taken
    assert "signed with a revoked key" in said


def test_without_a_list_of_signers_nothing_is_taken(site: SiteRepository) -> None:
    site.commit()
    (site.folder / "allowed_signers").unlink()
    taken, said = site.push("main")
    assert not taken
    assert "allowed_signers is not there; run the role edge.rack.trust" in said


def test_a_strangers_commit_between_signed_ones_is_refused(site: SiteRepository) -> None:
    site.commit()
    commit = site.commit({"x.yml": "1\n"}, signer="mallory")
    site.commit({"x.yml": "2\n"})
    taken, said = site.push("main")
    assert not taken
    assert commit[:12] in said


def test_an_unsigned_commit_on_a_tag_is_refused(site: SiteRepository) -> None:
    site.commit()
    site.push("main")
    site.commit({"x.yml": "1\n"}, "--no-gpg-sign")
    site.git("tag", "side")
    taken, said = site.push("side")
    assert not taken
    assert "is not signed" in said


def test_history_is_not_rewritten(site: SiteRepository) -> None:
    site.commit()
    first = site.commit({"x.yml": "1\n"})
    site.push("main")
    site.git("reset", "--quiet", "--hard", "HEAD~1")
    site.commit({"x.yml": "2\n"})
    taken, said = site.push("--force", "main")
    assert not taken
    assert f"refs/heads/main would lose {first[:12]}" in said
    assert "git pull --rebase" in said
    assert site.head() == first


def test_a_branch_is_not_deleted(site: SiteRepository) -> None:
    commit = site.commit()
    site.push("main:main", "main:old")
    taken, said = site.push("--delete", "old")
    assert not taken
    assert "refs/heads/old would be deleted" in said
    assert site.head("old") == commit


def test_a_tag_stays_where_it_is(site: SiteRepository) -> None:
    first = site.commit()
    site.git("tag", "2026.11")
    site.push("main", "2026.11")
    site.commit({"x.yml": "1\n"})
    site.git("tag", "--force", "2026.11")
    taken, said = site.push("--force", "2026.11")
    assert not taken
    assert "refs/tags/2026.11 is there already" in said
    assert site.head("2026.11") == first


def test_a_ref_that_is_neither_branch_nor_tag_is_refused(site: SiteRepository) -> None:
    site.commit()
    taken, said = site.push("main:refs/notes/x")
    assert not taken
    assert "refs/notes/x: push a branch or a tag" in said


@pytest.mark.parametrize(("content", "what"), [(VAULT, "a secret of Ansible Vault"), (PRIVATE_KEY, "a private key")])
def test_a_secret_is_refused_with_its_file_and_commit(site: SiteRepository, content: str, what: str) -> None:
    site.commit()
    site.push("main")
    commit = site.commit({"group_vars/all/with blanks.yml": content})
    taken, said = site.push("main")
    assert not taken
    assert f"group_vars/all/with blanks.yml of commit {commit[:12]} holds {what}" in said


def test_a_secret_that_a_later_commit_deletes_is_refused(site: SiteRepository) -> None:
    commit = site.commit({"key": PRIVATE_KEY})
    (site.checkout / "key").unlink()
    site.commit({"x.yml": "1\n"})
    taken, said = site.push("main")
    assert not taken
    assert f"key of commit {commit[:12]} holds a private key" in said


def test_a_public_key_is_no_secret(site: SiteRepository) -> None:
    site.commit({"alice.pub": (site.folder / "alice.pub").read_text(), "ca.crt": "-----BEGIN CERTIFICATE-----\n"})
    assert site.push("main") == (True, "")


def test_a_secret_in_a_tagged_file_is_refused(site: SiteRepository) -> None:
    site.commit()
    site.push("main")
    (site.folder / "secret").write_text(PRIVATE_KEY)
    blob = site.git("hash-object", "-w", str(site.folder / "secret")).strip()
    site.git("tag", "hidden", blob)
    taken, said = site.push("hidden")
    assert not taken
    assert "holds a private key" in said
