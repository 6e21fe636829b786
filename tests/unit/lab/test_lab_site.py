"""What the lab reads out of ansible's output: the verbs' seconds, the changed tasks, where it failed."""

from __future__ import annotations

import sys

import pytest

from lab import site
from lab.settings import LabError

RECAP = "nuc-001                    : ok=9    changed={}    unreachable=0    failed=0    skipped=1\n"


def watched(*lines: tuple[float, str]) -> site.Watch:
    watch = site.Watch(0.0)
    for now, text in lines:
        watch.line(text, now)
    return watch


def test_each_verb_has_the_seconds_of_all_its_plays():
    watch = watched(
        (2.0, "PLAY [Services | MAAS answers] ****\n"),
        (5.0, "PLAY [Services | The registry serves over TLS, with accounts] ****\n"),
        (9.0, "PLAY [Train | Every trainer takes part in one training] ****\n"),
        (10.0, "TASK [Workers are ready] ****\n"),
        (19.5, "PLAY RECAP ****\n"),
    )
    assert watch.result.phases == {"services": 7.0, "train": 10.5}


def test_a_play_that_is_no_verb_counts_for_the_verb_it_stands_in():
    watch = watched((0.0, "PLAY [Serve | x] *\n"), (1.0, "PLAY [all] *\n"), (4.0, "PLAY RECAP *\n"))
    assert watch.result.phases == {"serve": 4.0}


def test_changed_tasks_are_added_up_over_all_hosts():
    watch = watched((0.0, "PLAY RECAP ****\n"), (0.0, RECAP.format(2)), (0.0, RECAP.format(0)), (0.0, RECAP.format(11)))
    assert watch.result.changed == 13


def test_a_tasks_output_that_speaks_of_changes_is_no_recap():
    assert watched((0.0, "  msg: 'host : ok=1 changed=5'\n")).result.changed == 0


def playbook(tmp_path, monkeypatch, lines: list[str], status: int) -> None:
    """Put a program in ansible-playbook's place that prints these lines."""
    program = tmp_path / ".venv" / "bin" / "ansible-playbook"
    program.parent.mkdir(parents=True)
    program.write_text(f"#!{sys.executable}\nimport sys\nprint({chr(10).join(lines)!r})\nsys.exit({status})\n")
    program.chmod(0o755)
    monkeypatch.setattr(site, "CHECKOUT", tmp_path)
    monkeypatch.setenv("PATH", str(program.parent))


def test_a_failed_run_names_the_verb_and_the_log(tmp_path, monkeypatch, lab):
    playbook(tmp_path, monkeypatch, ["PLAY [Images | x] **", "fatal: ...", "PLAY RECAP **"], 2)
    settings = lab()
    with pytest.raises(LabError) as error:
        site.run(settings)
    assert "site.yml ended with 2 in images" in str(error.value)
    assert str(settings.state / "logs" / "site.log") in str(error.value)
    assert "make lab" in str(error.value)


def test_the_log_holds_what_was_printed_without_colours(tmp_path, monkeypatch, lab, capsys):
    playbook(tmp_path, monkeypatch, ["\x1b[0;32mok: [nuc-001]\x1b[0m", "PLAY RECAP **", RECAP.format(3).strip()], 0)
    settings = lab()
    assert site.run(settings).changed == 3
    assert (settings.state / "logs" / "site.log").read_text().startswith("ok: [nuc-001]\n")
    assert "nuc-001" in capsys.readouterr().out


def test_the_inventory_is_told_the_labs_choices(lab):
    environment = site.environment(lab(LAB_NAME="two", LAB_SUBNET="10.78.0.0/24"))
    assert (environment["LAB_NAME"], environment["LAB_SUBNET"]) == ("two", "10.78.0.0/24")
