"""The shell of the ESXi simulator, as an SSH client sees it: what it runs, what it refuses and in which words."""

from __future__ import annotations

import hashlib
import random
import shlex
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import paramiko
import pytest
from esxi_host import PASSWORD, EsxiHost

NAME = """Ümlaut's "VM" $HOME `id` 1"""
MIB = 1 << 20


@dataclass
class Answer:
    code: int
    out: str
    err: str


class Shell:
    """One SSH connection as root."""

    def __init__(self, host: EsxiHost, **credentials: object) -> None:
        self.client = paramiko.SSHClient()
        self.client.load_host_keys(str(host.known_hosts))
        options = {"password": PASSWORD} | credentials
        self.client.connect(
            "127.0.0.1", host.ssh_port, "root", allow_agent=False, look_for_keys=False, timeout=10, **options
        )

    def run(self, *words: str, stdin: bytes = b"") -> Answer:
        return self.line(shlex.join(words), stdin)

    def line(self, line: str, stdin: bytes = b"") -> Answer:
        to_host, out, err = self.client.exec_command(line, timeout=30)
        try:
            to_host.write(stdin)
            to_host.channel.shutdown_write()
        except OSError:
            pass  # the command ended before it had read everything
        return Answer(out.channel.recv_exit_status(), out.read().decode(), err.read().decode())

    def succeed(self, *words: str, stdin: bytes = b"") -> str:
        answer = self.run(*words, stdin=stdin)
        assert answer.code == 0, answer
        return answer.out

    def vms(self) -> dict[str, str]:
        """What getallvms lists: id and the rest of the line."""
        lines = self.succeed("vim-cmd", "vmsvc/getallvms").splitlines()
        return {line.split(" ", 1)[0]: line for line in lines if line[:1].isdigit()}

    def power(self, vmid: str) -> str:
        return self.succeed("vim-cmd", "vmsvc/power.getstate", vmid).splitlines()[-1]

    def dummy(self, name: str, datastore: str) -> str:
        return self.succeed("vim-cmd", "vmsvc/createdummyvm", name, datastore).strip()


@pytest.fixture
def free(host: Callable[..., EsxiHost], tmp_path: Path) -> EsxiHost:
    return host(edition="free", settings={"authorized_keys_file": str(tmp_path / "authorized_keys")})


@pytest.fixture
def shell(free: EsxiHost) -> Iterator[Shell]:
    session = Shell(free)
    yield session
    session.client.close()


@pytest.fixture
def datastore(shell: Shell) -> str:
    """Where datastore1 is mounted, as a client learns it."""
    return mount_point(shell, "datastore1")


def mount_point(shell: Shell, name: str) -> str:
    table = shell.succeed("esxcli", "--formatter=csv", "storage", "filesystem", "list").splitlines()
    rows = [dict(zip(table[0].split(","), row.split(","), strict=True)) for row in table[1:]]
    return next(row["MountPoint"] for row in rows if row["VolumeName"] == name)


@pytest.mark.parametrize("key", [paramiko.RSAKey.generate(2048), paramiko.ECDSAKey.generate()], ids=["rsa", "ecdsa"])
def test_root_logs_in_with_a_key(free: EsxiHost, key: paramiko.PKey) -> None:
    with pytest.raises(paramiko.AuthenticationException):
        Shell(free, password=None, pkey=key)
    Path(free.settings["authorized_keys_file"]).write_text(f"# root\n{key.get_name()} {key.get_base64()} me\n")
    assert Shell(free, password=None, pkey=key).succeed("echo", "hi") == "hi\n"


def test_root_logs_in_with_a_password_typed_or_sent(free: EsxiHost) -> None:
    assert Shell(free).succeed("echo", "hi") == "hi\n"
    with pytest.raises(paramiko.AuthenticationException):
        Shell(free, password="wrong")
    with paramiko.Transport(("127.0.0.1", free.ssh_port)) as transport:
        transport.start_client(timeout=10)
        assert transport.auth_interactive("root", lambda title, text, prompts: [PASSWORD] * len(prompts)) == []


def test_names_need_quoting_and_nothing_else(shell: Shell, datastore: str) -> None:
    vmid = shell.dummy(NAME, datastore)
    assert NAME in shell.vms()[vmid]
    disk, copy = f"{datastore}/{NAME}/{NAME}.vmdk", f"{datastore}/{NAME}/second copy.vmdk"
    shell.succeed("mkdir", "-p", f"{datastore}/{NAME}")
    assert "Create: 100% done." in shell.succeed("vmkfstools", "-c", "1G", "-d", "thin", disk)
    assert f'RW {(1 << 30) // 512} VMFS "{NAME}-flat.vmdk"' in shell.succeed("cat", disk)
    assert "Clone: 100% done." in shell.succeed("vmkfstools", "-i", disk, copy, "-d", "thin")
    shell.succeed("vmkfstools", "-X", "2G", disk)
    shell.succeed("vmkfstools", "-U", disk)
    shell.succeed("vim-cmd", "vmsvc/destroy", vmid)
    assert shell.vms() == {}
    again = shell.dummy("again", datastore)
    assert int(again) > int(vmid), "an id is never used again"


def test_a_name_that_is_taken_is_refused(shell: Shell, datastore: str) -> None:
    shell.dummy("maas", datastore)
    assert "(vim.fault.AlreadyExists)" in shell.run("vim-cmd", "vmsvc/createdummyvm", "maas", datastore).out


def test_a_large_file_arrives_whole(shell: Shell, datastore: str) -> None:
    content = random.Random(1).randbytes(20 * MIB)
    shell.line(f"cat > {datastore}/big.iso", content)
    assert shell.succeed("sha256sum", f"{datastore}/big.iso").split()[0] == hashlib.sha256(content).hexdigest()


def test_a_connection_that_breaks_leaves_half_a_file_and_the_line_goes_on(
    free: EsxiHost, shell: Shell, datastore: str
) -> None:
    broken = Shell(free)
    to_host, _, _ = broken.client.exec_command(f"cat > {datastore}/half; echo over > {datastore}/after")
    to_host.write(bytes(MIB))
    time.sleep(0.2)
    broken.client.close()
    wait_until(lambda: shell.run("cat", f"{datastore}/after").out == "over\n")
    assert shell.succeed("stat", "-c", "%s", f"{datastore}/half") == f"{MIB}\n"


def test_unknown_commands_fail_loudly(shell: Shell) -> None:
    assert shell.run("frobnicate").code == 127
    unknown = shell.run("esxcli", "system", "frobnicate", "get")
    assert (unknown.code, unknown.out) == (1, "Error: Unknown command or namespace system frobnicate get\n\n")
    assert "Invalid command" in shell.run("vim-cmd", "vmsvc/frobnicate").out
    real = shell.run("vim-cmd", "vmsvc/power.suspend", "1")
    assert real.code != 0 and "not simulated: vim-cmd vmsvc/power.suspend" in real.err
    missing = shell.run("esxcli", "network", "vswitch", "standard", "add")
    assert missing.code == 1 and "Missing required parameter -v|--vswitch-name" in missing.out


def test_an_unknown_vm_is_a_fault_in_text(shell: Shell) -> None:
    assert shell.run("vim-cmd", "vmsvc/power.on", "16").out.splitlines() == [
        "(vim.fault.NotFound) {",
        "   faultCause = (vmodl.MethodFault) null, ",
        "   faultMessage = <unset>",
        '   msg = "Unable to find a VM corresponding to "16""',
        "}",
    ]


def test_the_licence_tells_the_edition(shell: Shell) -> None:
    text = shell.succeed("vim-cmd", "vimsvc/license", "--show")
    assert "   vmodl key: esxBasic\n" in text
    assert '[feature] = vsmp:8 ("Up to 8-way virtual SMP")' in text


def test_the_free_edition_does_not_hinder_the_shell(shell: Shell, datastore: str) -> None:
    vmid = shell.dummy("maas", datastore)
    assert shell.succeed("vim-cmd", "vmsvc/power.on", vmid) == "Powering on VM:\n"
    assert shell.power(vmid) == "Powered on"
    again = shell.run("vim-cmd", "vmsvc/power.on", vmid)
    assert again.code == 0
    assert again.out.startswith("Powering on VM:\nPower on failed: (vim.fault.InvalidPowerState) {\n")
    assert "vim.fault.ToolsUnavailable" in shell.run("vim-cmd", "vmsvc/power.shutdown", vmid).out
    shell.succeed("vim-cmd", "vmsvc/power.off", vmid)
    assert shell.power(vmid) == "Powered off"


@pytest.mark.parametrize("told", [False, True])
def test_a_copied_vm_asks_unless_it_was_told(shell: Shell, datastore: str, told: bool) -> None:
    original = shell.dummy("maas", datastore)
    for command in ("power.on", "power.off"):  # it learns its place when it is first switched on
        shell.succeed("vim-cmd", f"vmsvc/{command}", original)
    shell.succeed("cp", "-r", f"{datastore}/maas", f"{datastore}/copy")
    if told:
        shell.line(f"echo 'uuid.action = \"create\"' >> {datastore}/copy/maas.vmx")
    copy = shell.succeed("vim-cmd", "solo/registervm", f"{datastore}/copy/maas.vmx", "copy").strip()
    if not told:
        _, blocked, _ = shell.client.exec_command(f"vim-cmd vmsvc/power.on {copy}")
        wait_until(lambda: "No message." not in shell.succeed("vim-cmd", "vmsvc/message", copy))
        assert not blocked.channel.exit_status_ready()
        text = shell.succeed("vim-cmd", "vmsvc/message", copy)
        assert "might have been moved or copied" in text and "(I Copied It) [default]" in text
        number = text.split(":")[0].removeprefix("Virtual machine message ")
        shell.succeed("vim-cmd", "vmsvc/message", copy, number, "2")
        assert blocked.channel.recv_exit_status() == 0
    else:
        shell.succeed("vim-cmd", "vmsvc/power.on", copy)
    assert shell.succeed("vim-cmd", "vmsvc/message", copy) == "No message.\n"
    assert shell.power(copy) == "Powered on"


def test_the_disk_of_a_running_vm_is_locked_until_a_snapshot_keeps_it(shell: Shell, datastore: str) -> None:
    vmid = shell.dummy("maas", datastore)
    disk, copy = f"{datastore}/maas/maas.vmdk", f"{datastore}/copy.vmdk"
    shell.succeed("vim-cmd", "vmsvc/power.on", vmid)
    locked = shell.run("vmkfstools", "-i", disk, copy)
    assert (locked.code, locked.err) == (255, f"Failed to open '{disk}': Failed to lock the file (16392).\n")
    busy = shell.run("rm", "-rf", f"{datastore}/maas")
    assert (busy.code, busy.err) == (1, f"rm: can't remove '{datastore}/maas': Device or resource busy\n")
    shell.succeed("vim-cmd", "vmsvc/snapshot.create", vmid, "backup")
    assert "--Snapshot Name        : backup\n" in shell.succeed("vim-cmd", "vmsvc/snapshot.get", vmid)
    assert "Clone: 100% done." in shell.succeed("vmkfstools", "-i", disk, copy, "-d", "thin")
    assert shell.run("vmkfstools", "-U", disk).code == 255
    shell.succeed("vim-cmd", "vmsvc/snapshot.removeall", vmid)
    assert shell.succeed("vim-cmd", "vmsvc/snapshot.get", vmid) == "Get Snapshot:\n"


def test_a_disk_grows_and_never_shrinks(shell: Shell, datastore: str) -> None:
    disk = f"{datastore}/x.vmdk"
    shell.succeed("vmkfstools", "-c", "2G", "-d", "thin", disk)
    refused = shell.run("vmkfstools", "-X", "1G", disk)
    assert refused.code == 255 and "Failed to extend disk" in refused.err
    shell.succeed("vmkfstools", "-X", "3G", disk)
    assert shell.succeed("stat", "-c", "%s", f"{datastore}/x-flat.vmdk") == f"{3 << 30}\n"


def test_a_cloud_image_becomes_a_native_disk(shell: Shell, datastore: str, tmp_path: Path) -> None:
    raw, image = tmp_path / "raw", tmp_path / "image.vmdk"
    content = b"cloud-image maas\n" + random.Random(2).randbytes(3 * MIB)
    with raw.open("wb") as file:
        file.write(content)
        file.truncate(64 * MIB)
    subprocess.run(
        ["qemu-img", "convert", "-f", "raw", "-O", "vmdk", "-o", "subformat=streamOptimized", raw, image], check=True
    )
    shell.line(f"cat > {datastore}/image.vmdk", image.read_bytes())
    shell.succeed("vmkfstools", "-i", f"{datastore}/image.vmdk", f"{datastore}/disk.vmdk", "-d", "thin")
    expected = hashlib.sha256(raw.read_bytes()).hexdigest()
    assert shell.succeed("sha256sum", f"{datastore}/disk-flat.vmdk").split()[0] == expected
    half = image.read_bytes()[: image.stat().st_size // 2]
    shell.line(f"cat > {datastore}/image.vmdk", half)
    broken = shell.run("vmkfstools", "-i", f"{datastore}/image.vmdk", f"{datastore}/broken.vmdk")
    assert broken.code == 255
    assert "broken" not in shell.succeed("ls", datastore)


def test_a_full_datastore_ends_what_writes_to_it(free: EsxiHost, shell: Shell, datastore: str) -> None:
    shell.succeed("vmkfstools", "-c", "100M", "-d", "thin", f"{datastore}/x.vmdk")
    free.capacity("datastore1", 0.01)
    thick = shell.run("vmkfstools", "-c", "1G", "-d", "eagerzeroedthick", f"{datastore}/y.vmdk")
    assert thick.code == 255 and "No space left on device" in thick.err
    shell.line(f"dd if=/dev/urandom of={datastore}/x-flat.vmdk bs=1M count=8 conv=notrunc")
    clone = shell.run("vmkfstools", "-i", f"{datastore}/x.vmdk", f"{datastore}/z.vmdk", "-d", "thin")
    assert clone.code == 255 and "No space left on device" in clone.err
    assert set(shell.succeed("ls", datastore).split()) == {"x.vmdk", "x-flat.vmdk"}
    upload = shell.line(f"cat > {datastore}/big.iso", bytes(range(256)) * 80_000)
    assert upload.code == 1 and "No space left on device" in upload.err


def test_a_vmx_that_does_not_parse_makes_its_vm_invalid(shell: Shell, datastore: str) -> None:
    vmid, other = shell.dummy("maas", datastore), shell.dummy("registry", datastore)
    vmx = f"{datastore}/maas/maas.vmx"
    good = shell.succeed("cat", vmx)
    shell.line(f"cat > {vmx}", b'displayName = "maas\nthis is no vmx')
    shell.run("vim-cmd", "vmsvc/reload", vmid)
    text = shell.succeed("vim-cmd", "vmsvc/getallvms")
    assert f"Skipping invalid VM '{vmid}'\n" in text
    assert list(shell.vms()) == [other]
    shell.line(f"cat > {vmx}", good.replace('"maas"', '"renamed"').encode())
    shell.succeed("vim-cmd", "vmsvc/reload", vmid)
    assert "renamed" in shell.vms()[vmid]


def test_port_groups_come_and_go(shell: Shell) -> None:
    standard = ("network", "vswitch", "standard")
    shell.succeed("esxcli", *standard, "add", "-v", "vSwitch1")
    shell.succeed("esxcli", *standard, "portgroup", "add", "-v", "vSwitch1", "-p", "rack, inner")
    shell.succeed("esxcli", *standard, "portgroup", "set", "-v", "77", "-p", "rack, inner")
    again = shell.run("esxcli", *standard, "portgroup", "add", "-v", "vSwitch1", "-p", "rack, inner")
    assert (again.code, again.out) == (1, "A portgroup with the name rack, inner already exists\n")
    table = shell.succeed("esxcli", "--formatter=csv", *standard, "portgroup", "list").splitlines()
    assert table[0] == "ActiveClients,Name,VLANID,VirtualSwitch,"
    assert '0,"rack, inner",77,vSwitch1,' in table
    shell.succeed("esxcli", *standard, "portgroup", "remove", "-v", "vSwitch1", "-p", "rack, inner")
    shell.succeed("esxcli", *standard, "remove", "-v", "vSwitch1")
    assert "vSwitch1" not in shell.succeed("esxcli", *standard, "list")


def test_autostart_is_kept_per_vm(shell: Shell, datastore: str) -> None:
    manager = "hostsvc/autostartmanager"
    vmid = shell.dummy("maas", datastore)
    assert shell.succeed("vim-cmd", f"{manager}/get_autostartseq") == "(vim.host.AutoStartManager.AutoPowerInfo) []\n"
    shell.succeed("vim-cmd", f"{manager}/enable_autostart", "true")
    entry = (vmid, "PowerOn", "30", "1", "guestShutdown", "60", "systemDefault")
    shell.succeed("vim-cmd", f"{manager}/update_autostartentry", *entry)
    assert "   enabled = true" in shell.succeed("vim-cmd", f"{manager}/get_defaults")
    text = shell.succeed("vim-cmd", f"{manager}/get_autostartseq")
    assert f"key = 'vim.VirtualMachine:{vmid}'" in text
    assert 'startAction = "powerOn"' in text and "startOrder = 1" in text and "stopDelay = 60" in text


def test_faults_strike_at_the_start_in_the_middle_or_cut_the_line(free: EsxiHost, shell: Shell, datastore: str) -> None:
    shell.succeed("vmkfstools", "-c", "100M", "-d", "thin", f"{datastore}/x.vmdk")
    shell.line(f"dd if=/dev/urandom of={datastore}/x-flat.vmdk bs=1M count=8 conv=notrunc")
    clone = ("vmkfstools", "-i", f"{datastore}/x.vmdk", f"{datastore}/y.vmdk")
    for when, left in (("start", []), ("middle", ["y-flat.vmdk", "y.vmdk"])):
        free.fault(command="vmkfstools -i", when=when, output="Failed to clone disk: Input/output error\n", code=9)
        # Also inside of a longer line.
        answer = shell.line("true && " + shlex.join(clone))
        assert (answer.code, answer.err) == (9, "Failed to clone disk: Input/output error\n")
        assert shell.succeed("ls", datastore).split() == ["x-flat.vmdk", "x.vmdk", *left]
    free.fault(command="echo", output="drop")
    with pytest.raises((OSError, EOFError, paramiko.SSHException, AssertionError)):
        shell.succeed("echo", "hi")
    assert "true && " + shlex.join(clone) in free.counts()["ssh"]


def wait_until(reached: Callable[[], bool], seconds: float = 5) -> None:
    deadline = time.monotonic() + seconds
    while not reached():
        assert time.monotonic() < deadline
        time.sleep(0.05)
