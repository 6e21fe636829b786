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

import pytest

from tests.unit.playbook_runs import ansible_playbook

CHECKOUT = Path(__file__).resolve().parents[3]
FILES = CHECKOUT / "roles/nuc_image/files"


REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "no-wheels": ({"nuc_image_wheels": "/nowhere"}, "(/nowhere) holds no wheel on the build host"),
    "no-archive": ({"nuc_image_archive": "edge-nuc.zip"}, "is an absolute path that ends in .tar.gz or .tgz"),
    "future": ({"nuc_image_source_date_epoch": 9999999999}, "lies in the past of the build host"),
    "no-preload": ({"nuc_image_preload_archive": "/nowhere/images.tar"}, "docker save --output /nowhere/images.tar"),
}


def archive_of(folder: Path, host: str) -> Path:
    return folder / host / "images/edge-nuc.tar.gz"


def _play(
    folder: Path, hosts: dict[str, dict[str, Any]], *options: str, tasks_from: str = "main"
) -> subprocess.CompletedProcess[str]:
    """The role, once for each host, which is this machine; in check mode where no other options are given."""
    local = {"ansible_connection": "local", "ansible_python_interpreter": sys.executable}
    known = {name: {**local, "nuc_image_archive": str(archive_of(folder, name)), **own} for name, own in hosts.items()}
    role = {"ansible.builtin.import_role": {"name": "edge.rack.nuc_image", "tasks_from": tasks_from}}
    playbook, inventory = folder / "image.json", folder / "hosts.json"
    playbook.write_text(json.dumps([{"hosts": "all", "gather_facts": False, "tasks": [role]}]))
    inventory.write_text(json.dumps({"all": {"hosts": known}}))
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    return ansible_playbook("-i", inventory, playbook, *(options or ("--check", "--diff")), seconds=300, PATH=path)


def changes(said: str, host: str) -> int:
    """How much there was for a host, which must not have failed."""
    (changed,) = re.findall(rf"^{host} +: ok=\d+ +changed=(\d+) +unreachable=0 +failed=0 ", said, re.MULTILINE)
    return int(changed)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("images")


@pytest.fixture(scope="module")
def shown(folder: Path) -> str:
    """All that check mode says of hosts whose image is wanted, and of such as ask for nonsense."""
    wheel = folder / "wheels/one-1.0-py3-none-any.whl"
    wheel.parent.mkdir()
    wheel.write_bytes(b"one")
    archive_of(folder, "has-one").parent.mkdir(parents=True)
    archive_of(folder, "has-one").write_bytes(b"image")
    hosts: dict[str, dict[str, Any]] = {
        "ubuntu": {"nuc_image_extra_packages": ["tree"]},
        "debian": {"nuc_image_distribution": "debian"},
        "wheels": {"nuc_image_wheels": str(wheel.parent)},
        "has-one": {},
        **{name: variables for name, (variables, _message) in REFUSED.items()},
    }
    return _play(folder, hosts).stdout


def recipe(shown: str, host: str) -> str:
    """What check mode shows as the recipe of a host: above the line that names it."""
    before = shown.partition(f"changed: [{host}]")[0]
    lines = re.split(r"^changed: \[.*\]$", before, flags=re.MULTILINE)[-1].splitlines()
    return "\n".join(line[1:] for line in lines if line.startswith("+") and not line.startswith("+++"))


def test_check_mode_names_what_it_would_build(folder: Path, shown: str) -> None:
    assert changes(shown, "ubuntu") == 1
    for wanted in (
        '"suite": "noble"',
        '"linux-generic"',
        '"tree"',
        '"ansible-core==2.19.14"',
        "-security main universe",
    ):
        assert wanted in recipe(shown, "ubuntu")
    assert not (folder / "ubuntu").exists()


def test_one_variable_makes_it_debian(shown: str) -> None:
    asked = recipe(shown, "debian")
    assert '"suite": "bookworm"' in asked
    assert '"linux-image-amd64"' in asked
    assert "ubuntu" not in asked
    assert "tree" not in asked


def test_a_wheel_of_another_content_is_another_recipe(shown: str) -> None:
    assert f'"one-1.0-py3-none-any.whl": "{hashlib.sha256(b"one").hexdigest()}"' in recipe(shown, "wheels")


def test_inputs_that_make_no_sense_are_refused(shown: str) -> None:
    said = " ".join(shown.split())
    for name, (_variables, message) in REFUSED.items():
        assert message in said
        assert re.search(rf" {name} : ok=\d+ changed=0 .*?failed=1 ", said), said


def test_an_image_of_the_same_recipe_is_left_alone(folder: Path, shown: str) -> None:
    assert changes(shown, "has-one") == 1
    # What check mode shows as the new recipe is the recipe.
    for name in ("has-one", "rebuilds"):
        archive_of(folder, name).parent.mkdir(parents=True, exist_ok=True)
        archive_of(folder, name).write_bytes(b"image")
        archive_of(folder, name).with_name("edge-nuc.recipe.json").write_text(recipe(shown, "has-one"))
    again = _play(folder, {"has-one": {}, "rebuilds": {"nuc_image_rebuild": True}}).stdout
    assert (changes(again, "has-one"), changes(again, "rebuilds")) == (0, 1)


def test_root_builds_only_in_a_folder_of_its_own(tmp_path: Path) -> None:
    work = tmp_path / "work"
    work.mkdir()
    if os.geteuid() == 0:
        os.chown(work, 65534, 65534)
    done = _play(tmp_path, {"builder": {"nuc_image_work_dir": str(work)}}, "-v", tasks_from="build")
    assert done.returncode != 0
    assert "root builds only in a folder of its own" in done.stdout
    assert list(work.iterdir()) == []


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
