# Copyright: (c) 2026, The edge.rack engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import pytest
from ansible_collections.edge.rack.plugins.modules.release_file import ReleaseFileError, edited

OLD, NEW, MODEL = (f"sha256:{letter * 64}" for letter in "abc")
RELEASE = f"""\
# What every device of this site runs.
edge_release:
  name: "2026.11"
  images:
    worker:   # trains
      tag: "0.1.0"  # the version
    predictor: {{tag: "0.1.0"}}
    manager:
      digest: "{OLD}"  # of the tag
      tag: 0.2.0

  # the model
  model:
    task: digits
"""


def test_digests_are_written_and_every_other_character_stays() -> None:
    digests = {
        "images.worker.digest": NEW,
        "images.predictor.digest": NEW,
        "images.manager.digest": NEW,
        "model.digest": MODEL,
    }
    text = edited(RELEASE, digests)
    assert text == (
        RELEASE.replace("# the version\n", f"# the version\n      digest: {NEW}\n")
        .replace('{tag: "0.1.0"}', f'{{tag: "0.1.0", digest: {NEW}}}')
        .replace(f'"{OLD}"', NEW)
        .replace("task: digits\n", f"task: digits\n    digest: {MODEL}\n")
    )
    assert edited(text, digests) == text


def test_name_and_tags_are_written_as_text_even_where_they_look_like_numbers() -> None:
    text = edited(RELEASE, {"name": "2026.12", "images.worker.tag": "1.10", "images.manager.tag": "0.2.0"})
    assert text == RELEASE.replace('"2026.11"', '"2026.12"').replace(
        'tag: "0.1.0"  # the version', 'tag: "1.10"  # the version'
    )
    assert edited(RELEASE.replace('"2026.11"', "2026.12"), {"name": "2026.12"}) == RELEASE.replace("2026.11", "2026.12")
    assert edited(RELEASE.replace('"2026.11"', "'2026.12'"), {"name": "2026.12"}) == RELEASE.replace(
        '"2026.11"', "'2026.12'"
    )


def test_a_digest_that_stands_there_is_left_as_it_is_written() -> None:
    assert edited(RELEASE, {"images.manager.digest": OLD}) == RELEASE


def test_a_file_without_a_last_newline_is_edited_too() -> None:
    assert edited(RELEASE.rstrip(), {"model.digest": MODEL}).endswith(f"task: digits\n    digest: {MODEL}")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("edge_release: {images: {}}", "edge_release.images is not there, or no mapping"),
        ("edge_release: {images: {worker: }}", "edge_release.images.worker is not there, or no mapping"),
        ("- edge_release", "edge_release is not there, or no mapping"),
        ("", "edge_release is not there, or no mapping"),
        ("edge_release: [", "it is no YAML"),
        ("edge_release:\n  images:\n    other: &a {tag: 1}\n    worker: *a\n", "its form is not understood"),
    ],
)
def test_what_cannot_be_edited_without_a_doubt_is_refused(text: str, message: str) -> None:
    with pytest.raises(ReleaseFileError, match=message):
        edited(text, {"images.worker.digest": NEW})
