"""The whole user-data of one host a role, and what the real checkers say to it.

The checkers of the host's own system (cloud-init, sshd, fail2ban's needs) run inside the lab's
Debian tree, on a copy that nothing is kept of. Regenerate: pytest tests/render --snapshot-update.
"""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import pytest
import yaml
from syrupy.assertion import SnapshotAssertion
from syrupy.extensions.single_file import SingleFileSnapshotExtension, WriteMode

from lab import image
from mesh import settings, topology, userdata
from tests import needs

HOSTS: Final = ("hs-1", "pg-1", "ops-1", "derp-bj")
ROOT: Final = Path(__file__).parents[2]
KEY: Final = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOMqqnkVzrm0SdG6UOoqKLsabgH5C9okWi0dh2l9GKJl"
PRIVATE: Final = (
    "-----BEGIN OPENSSH PRIVATE KEY-----\nbootstrap\n-----END OPENSSH PRIVATE KEY-----\n"
)
# An overlay over the tree, gone with the mount namespace; $1 the tree, $2 a folder, $3 a script.
IN_TREE: Final = """
set -e
mount -t tmpfs tmpfs "$2"; cd "$2"; mkdir upper work root
mount -t overlay overlay -o "lowerdir=$1,upperdir=upper,workdir=work" root
mount --rbind /dev root/dev; mount -t proc proc root/proc; mount -t tmpfs tmpfs root/run
cat >root/tmp/input
exec chroot root sh -ec "$3"
"""

InTree = Callable[[str, str], None]


class YamlFile(SingleFileSnapshotExtension):
    """Each snapshot a file that people can read as what it is."""

    file_extension = "yaml"
    _write_mode = WriteMode.TEXT


def render(name: str, system: str = "debian-12") -> str:
    file = ROOT / "stacks/Pulumi.prod.yaml"
    raw = yaml.safe_load(file.read_text())["config"]
    values = {key.removeprefix("mesh:"): value for key, value in raw.items()}
    chosen = settings.load(values | {"os": system}, str(file))
    return userdata.render(
        chosen,
        topology.build(chosen).host(name),
        authorized_key=f"{KEY} operator",
        bootstrap_host_key=PRIVATE,
        bootstrap_host_public_key=KEY,
    )


def file_of(name: str, path: str) -> str:
    entries: list[dict[str, Any]] = yaml.safe_load(render(name))["write_files"]
    return next(str(entry["content"]) for entry in entries if entry["path"] == path)


@pytest.fixture(scope="session")
def tree() -> Path:
    needs.root("the lab's tree is built")
    needs.programs("mmdebstrap", "unshare")
    return image.ensure()


@pytest.fixture
def in_tree(tree: Path, tmp_path: Path) -> InTree:
    """Runs a script in the tree with a text in /tmp/input; it must succeed."""

    def run(script: str, text: str) -> None:
        shell = ["unshare", "--mount", "sh", "-c", IN_TREE, "sh", str(tree), str(tmp_path), script]
        done = subprocess.run(shell, input=text, capture_output=True, text=True)
        assert done.returncode == 0, f"{done.stdout}{done.stderr}"

    return run


@pytest.mark.parametrize("name", HOSTS)
def test_user_data_is_what_was_reviewed(name: str, snapshot: SnapshotAssertion) -> None:
    # The scripts are reviewed where they are: here only that they come along.
    shown = re.sub(r"(encoding: gz\+b64\n +content: ).*", r"\1(the script)", render(name))
    assert shown == snapshot(extension_class=YamlFile)


@pytest.mark.parametrize("system", ["debian-12", "ubuntu-22.04"])
@pytest.mark.parametrize("name", HOSTS)
def test_cloud_init_accepts_every_key(name: str, system: str, in_tree: InTree) -> None:
    in_tree("cloud-init schema --config-file /tmp/input", render(name, system))


@pytest.mark.parametrize("name", HOSTS)
def test_nft_accepts_the_ruleset(name: str, tmp_path: Path) -> None:
    needs.root("nft asks the kernel")
    needs.programs("nft", "unshare")
    rules = tmp_path / "nftables.conf"
    rules.write_text(file_of(name, "/etc/nftables.conf"))
    # Twice: the second time the table exists, as at each reload.
    script = 'nft --check --file "$1" && nft --file "$1" && nft --file "$1"'
    line = ["unshare", "--net", "sh", "-c", script, "sh", str(rules)]
    done = subprocess.run(line, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_sshd_accepts_its_settings_and_uses_them(in_tree: InTree) -> None:
    script = """
        mkdir -p /run/sshd
        cp /tmp/input /etc/ssh/sshd_config.d/10-mesh.conf
        ssh-keygen -q -t ed25519 -N '' -f /etc/ssh/ssh_host_ed25519_key
        sshd -t
        sshd -T >/tmp/effective
        for line in 'passwordauthentication no' 'permitrootlogin no' 'allowusers mesh' \
            'hostkey /etc/ssh/ssh_host_ed25519_key'; do
            grep -qx "$line" /tmp/effective || { echo "not in effect: $line"; exit 1; }
        done
    """
    in_tree(script, file_of("hs-1", "/etc/ssh/sshd_config.d/10-mesh.conf"))


def test_apt_accepts_its_settings(in_tree: InTree) -> None:
    script = """
        cp /tmp/input /etc/apt/apt.conf.d/90mesh
        apt-config dump | grep -qx 'Acquire::Retries "5";'
        apt-config dump | grep -qx 'Unattended-Upgrade::Automatic-Reboot "false";'
    """
    in_tree(script, file_of("hs-1", "/etc/apt/apt.conf.d/90mesh"))


@pytest.mark.parametrize("source", [path for m in userdata.SCRIPTS.values() for path in m.values()])
def test_the_scripts_compile_with_the_python_of_the_host(source: str, in_tree: InTree) -> None:
    text = (ROOT / source).read_text()
    in_tree("cp /tmp/input /tmp/script.py && python3 -W error -m py_compile /tmp/script.py", text)
