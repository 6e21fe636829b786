"""Expensive things are made once, anew when their recipe changes, and never look finished before they are."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from lab import cache


def test_the_key_of_the_same_recipe_is_the_same(tmp_path):
    (tmp_path / "a").write_text("one")
    assert cache.key("text", b"bytes", tmp_path / "a") == cache.key("text", b"bytes", tmp_path / "a")


def test_the_key_changes_with_the_content_of_a_file_not_with_its_name(tmp_path):
    (tmp_path / "a").write_text("one")
    (tmp_path / "b").write_text("one")
    before = cache.key(tmp_path / "a")
    assert cache.key(tmp_path / "b") == before
    (tmp_path / "a").write_text("two")
    assert cache.key(tmp_path / "a") != before


def test_the_key_knows_where_one_part_ends():
    assert cache.key("ab", "c") != cache.key("a", "bc")


def test_a_thing_is_made_once(tmp_path):
    target, calls = tmp_path / "deep" / "thing", []

    def make(out: Path) -> None:
        calls.append(out)
        out.write_text("made")

    assert cache.made(target, make) is True
    assert cache.made(target, make) is False
    assert (target.read_text(), len(calls)) == ("made", 1)
    assert sorted(path.name for path in target.parent.iterdir()) == ["lock-thing", "thing"]


def test_two_who_want_the_same_thing_make_it_once(tmp_path):
    target, calls = tmp_path / "thing", []

    def make(out: Path) -> None:
        calls.append(out)
        time.sleep(0.2)
        out.write_text("made")

    with ThreadPoolExecutor(2) as pool:
        made = list(pool.map(lambda _: cache.made(target, make), range(2)))
    assert sorted(made) == [False, True]
    assert (target.read_text(), len(calls)) == ("made", 1)


@pytest.mark.parametrize("interruption", [KeyboardInterrupt, OSError])
def test_an_interrupted_making_leaves_nothing_that_looks_finished(tmp_path, interruption):
    target = tmp_path / "thing"

    def interrupted(out: Path) -> None:
        out.mkdir()
        (out / "half").write_text("half")
        raise interruption

    with pytest.raises(interruption):
        cache.made(target, interrupted)
    assert not target.exists()

    def whole(out: Path) -> None:
        assert not out.exists(), "what the interrupted run left must not get into this one"
        out.mkdir()

    assert cache.made(target, whole) is True
    assert list(target.iterdir()) == []


def test_the_recipe_of_a_folder_counts_names_and_contents_but_no_leftovers(tmp_path):
    (tmp_path / "a.py").write_text("one")
    before = cache.key(*cache.tree(tmp_path))
    (tmp_path / "__pycache__").mkdir()
    (tmp_path / "__pycache__" / "a.pyc").write_text("compiled")
    assert cache.key(*cache.tree(tmp_path)) == before
    (tmp_path / "a.py").rename(tmp_path / "b.py")
    assert cache.key(*cache.tree(tmp_path)) != before
