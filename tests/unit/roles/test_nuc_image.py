"""The role nuc_image as far as it gets without building anything; tests/boot builds, and boots what it built."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

from tests.unit.playbook_runs import ansible_playbook

CHECKOUT = Path(__file__).resolve().parents[3]
FILES = CHECKOUT / "roles/nuc_image/files"


def _play(
    tmp_path: Path, *options: str, tasks_from: str = "main", **variables: Any
) -> subprocess.CompletedProcess[str]:
    """The role in check mode, or what of it with other options."""
    playbook = tmp_path / "image.yml"
    role = {"ansible.builtin.import_role": {"name": "edge.rack.nuc_image", "tasks_from": tasks_from}}
    play = {"hosts": "localhost", "connection": "local", "gather_facts": False, "tasks": [role]}
    playbook.write_text(json.dumps([play]))
    variables = {"nuc_image_archive": str(tmp_path / "images/edge-nuc.tar.gz"), **variables}
    options = options or ("--check", "--diff")
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    argv = ("-i", "localhost,", playbook, *options, "-e", json.dumps(variables))
    return ansible_playbook(*argv, seconds=300, PATH=path)


def test_check_mode_names_what_it_would_build(tmp_path: Path) -> None:
    done = _play(tmp_path, nuc_image_extra_packages=["tree"])
    assert done.returncode == 0, done.stdout
    assert "changed=1 " in done.stdout
    for wanted in (
        '"suite": "noble"',
        '"linux-generic"',
        '"tree"',
        '"ansible-core==2.19.14"',
        "-security main universe",
    ):
        assert wanted in done.stdout
    assert not (tmp_path / "images").exists()


def test_one_variable_makes_it_debian(tmp_path: Path) -> None:
    done = _play(tmp_path, nuc_image_distribution="debian")
    assert '"suite": "bookworm"' in done.stdout
    assert '"linux-image-amd64"' in done.stdout
    assert "ubuntu" not in done.stdout


def test_an_image_of_the_same_recipe_is_left_alone(tmp_path: Path) -> None:
    archive = tmp_path / "images/edge-nuc.tar.gz"
    archive.parent.mkdir()
    archive.write_bytes(b"image")
    shown = _play(tmp_path).stdout
    assert "changed=1 " in shown
    # What check mode shows as the new recipe is the recipe.
    lines = shown.splitlines()
    added = "\n".join(line[1:] for line in lines if line.startswith("+") and not line.startswith("+++"))
    archive.with_name("edge-nuc.recipe.json").write_text(added)
    assert "changed=0 " in _play(tmp_path).stdout
    assert "changed=1 " in _play(tmp_path, nuc_image_rebuild=True).stdout


def test_a_wheel_of_another_content_is_another_recipe(tmp_path: Path) -> None:
    wheel = tmp_path / "wheels/one-1.0-py3-none-any.whl"
    wheel.parent.mkdir()
    wheel.write_bytes(b"one")
    shown = _play(tmp_path, nuc_image_wheels=str(wheel.parent)).stdout
    assert f'"one-1.0-py3-none-any.whl": "{hashlib.sha256(b"one").hexdigest()}"' in shown


def test_root_builds_only_in_a_folder_of_its_own(tmp_path: Path) -> None:
    work = tmp_path / "work"
    work.mkdir()
    if os.geteuid() == 0:
        os.chown(work, 65534, 65534)
    done = _play(tmp_path, "-v", tasks_from="build", nuc_image_work_dir=str(work))
    assert done.returncode != 0
    assert "root builds only in a folder of its own" in done.stdout
    assert list(work.iterdir()) == []


REFUSED = {
    "no-wheels": ({"nuc_image_wheels": "/nowhere"}, "(/nowhere) holds no wheel on the build host"),
    "no-archive": ({"nuc_image_archive": "edge-nuc.zip"}, "is an absolute path that ends in .tar.gz or .tgz"),
    "future": ({"nuc_image_source_date_epoch": 9999999999}, "lies in the past of the build host"),
    "no-preload": ({"nuc_image_preload_archive": "/nowhere/images.tar"}, "docker save --output /nowhere/images.tar"),
}


def test_inputs_that_make_no_sense_are_refused(tmp_path: Path) -> None:
    """Once for a host of each: every one of them fails."""
    good = {"ansible_connection": "local", "nuc_image_archive": str(tmp_path / "images/edge-nuc.tar.gz")}
    hosts = {name: {**good, **variables} for name, (variables, _message) in REFUSED.items()}
    role = {"ansible.builtin.import_role": {"name": "edge.rack.nuc_image"}}
    (tmp_path / "hosts.json").write_text(json.dumps({"all": {"hosts": hosts}}))
    (tmp_path / "image.json").write_text(json.dumps([{"hosts": "all", "gather_facts": False, "tasks": [role]}]))
    said = " ".join(ansible_playbook("-i", tmp_path / "hosts.json", tmp_path / "image.json", "--check").stdout.split())
    for name, (_variables, message) in REFUSED.items():
        assert message in said
        assert re.search(rf" {name} : ok=\d+ changed=0 .*?failed=1 ", said), said


CURTIN = {
    "curtin/__init__.py": "",
    "curtin/commands/__init__.py": "",
    "curtin/commands/curthooks.py": """
import os
def install_kernel(cfg, target): raise SystemExit("a kernel was installed")
def builtin_curthooks(cfg, target, state):
    install_kernel(cfg, target)
    assert cfg["apt"]["preserve_sources_list"] is True
def handle_cloudconfig(cfg, base_dir):
    os.makedirs(base_dir)
    for name, value in cfg.items():
        open(os.path.join(base_dir, f"50-cloudconfig-{name}.cfg"), "w").write(value["content"])
""",
    "curtin/config.py": "import json, os\ndef load_command_config(*_): return json.loads(os.environ['CONFIG'])\n",
    "curtin/util.py": "import os\ndef load_command_environment(): return {'target': os.environ['TARGET']}\n",
}


def test_maas_installer_keeps_the_images_kernel_and_hands_cloud_init_its_configuration(tmp_path: Path) -> None:
    """Against a stand-in with the calls of curtin's that the hooks make; no curtin can be installed here."""
    for name, content in CURTIN.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(content)
    target = tmp_path / "target"
    (target / "curtin").mkdir(parents=True)
    shutil.copy(FILES / "curtin-hooks", target / "curtin")
    config = {"cloudconfig": {"maas-reporting": {"content": "reporting: {}\n"}}, "apt": None}
    environment = {"PYTHONPATH": str(tmp_path), "TARGET": str(target), "CONFIG": json.dumps(config)}
    subprocess.run([sys.executable, target / "curtin/curtin-hooks"], env={**os.environ, **environment}, check=True)
    written = target / "etc/cloud/cloud.cfg.d/50-cloudconfig-maas-reporting.cfg"
    assert written.read_text() == "reporting: {}\n"
    assert not (target / "curtin").exists()
