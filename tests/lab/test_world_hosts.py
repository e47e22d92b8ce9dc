"""Hosts of the lab's world: what they boot from, how they start, stop, lose power and fail.

Networks are in test_world_network.py, public services in test_world_services.py.
"""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from lab.world import disk, process
from lab.world.command import until
from lab.world.errors import HostError
from lab.world.host import Disk, HostSpec
from tests.lab.pair import FRONT_USER_DATA, TwoHosts


def test_cloud_init_gets_exactly_the_given_user_data(two_hosts: TwoHosts) -> None:
    got = two_hosts.front.exec(["cat", "/var/lib/cloud/instance/user-data.txt"]).stdout

    assert got.encode() == FRONT_USER_DATA


def test_cloud_init_carries_out_the_user_data(two_hosts: TwoHosts) -> None:
    assert two_hosts.front.exec(["cat", "/etc/greeting"]).stdout == "from user-data"


def test_a_host_runs_without_failed_units(two_hosts: TwoHosts) -> None:
    state = two_hosts.front.exec(["systemctl", "is-system-running"], check=False).stdout.strip()
    failed = two_hosts.front.exec(["systemctl", "--failed", "--no-legend"]).stdout

    assert state == "running", f"a unit of the image does not work in the lab: {failed}"


def test_the_operator_logs_in_with_the_key(two_hosts: TwoHosts) -> None:
    assert two_hosts.ssh("admin@front.example", "sudo", "id", "-u").stdout.strip() == "0"


def test_a_sandboxed_unit_starts(two_hosts: TwoHosts) -> None:
    sandbox = (
        *("DynamicUser=yes", "ProtectSystem=strict", "PrivateDevices=yes", "PrivateTmp=yes"),
        *("ProtectKernelTunables=yes", "ProtectControlGroups=yes", "NoNewPrivileges=yes"),
        *("SystemCallFilter=@system-service", "RestrictNamespaces=yes", "MemoryMax=64M"),
    )
    flags = [f"--property={setting}" for setting in sandbox]

    said = two_hosts.front.exec(["systemd-run", "--wait", "--pipe", "--quiet", *flags, "id", "-u"])

    assert int(said.stdout) > 1000


def test_a_unit_without_network_access_has_none(two_hosts: TwoHosts) -> None:
    ping = ["ping", "-c1", "-W1", "10.0.1.1"]
    unit = ["systemd-run", "--wait", "--pipe", "--quiet"]
    two_hosts.front.exec([*unit, *ping])

    denied = two_hosts.front.exec([*unit, "--property=IPAddressDeny=any", *ping], check=False)

    assert denied.status != 0, "IPAddressDeny= of a role's units would be an empty promise"


def test_a_host_has_tun_for_vpn_clients(two_hosts: TwoHosts) -> None:
    two_hosts.front.exec(["ip", "tuntap", "add", "dev", "tun9", "mode", "tun"])
    two_hosts.front.exec(["ip", "tuntap", "del", "dev", "tun9", "mode", "tun"])


def test_a_data_disk_is_formatted_and_mounted(two_hosts: TwoHosts) -> None:
    found = two_hosts.back.exec(["findmnt", "--noheadings", "--output=SOURCE,FSTYPE", "/data"])

    assert found.stdout.split() == ["/dev/vdb", "ext4"]


def test_a_data_disk_survives_a_power_cut(two_hosts: TwoHosts) -> None:
    two_hosts.back.exec(["sh", "-c", "echo kept >/data/note; sync"])

    two_hosts.back.power_off()
    two_hosts.back.start()
    two_hosts.back.wait_cloud_init()

    assert two_hosts.back.exec(["cat", "/data/note"]).stdout == "kept\n"


def test_a_power_cut_ends_every_process_at_once(two_hosts: TwoHosts) -> None:
    leader = two_hosts.back.leader()
    assert leader is not None
    namespace = process.namespace_of(leader, "pid")
    assert namespace is not None

    two_hosts.back.power_off()
    left = process.inhabitants("pid", {namespace})
    two_hosts.back.start()

    assert left == []


def test_a_power_cut_is_silent_to_the_peers(two_hosts: TwoHosts) -> None:
    program = (
        "import socket\n"
        "c = socket.create_connection(('10.0.1.11', 22), 5)\n"
        "c.settimeout(2)\n"
        "c.recv(1024)\n"
        "print('up', flush=True)\n"
        "try:\n"
        "    print(c.recv(1))\n"
        "except TimeoutError:\n"
        "    print('silence')\n"
    )
    line = two_hosts.front.exec_line(["python3", "-c", program])

    with subprocess.Popen(line, stdout=subprocess.PIPE, text=True) as talk:
        assert talk.stdout is not None
        assert talk.stdout.readline() == "up\n"
        two_hosts.back.power_off()
        heard = talk.stdout.readline()
    two_hosts.back.start()

    assert heard == "silence\n", "a host without power cannot say goodbye"


def test_a_host_shuts_down_in_order_when_stopped(two_hosts: TwoHosts) -> None:
    two_hosts.back.stop()
    said = two_hosts.back.last_lines()
    two_hosts.back.start()

    assert "shutdown.target" in said, "systemd in the host must have gone through its shutdown"


def test_a_host_comes_back_from_its_own_reboot_with_its_disk(two_hosts: TwoHosts) -> None:
    two_hosts.back.reboot()
    two_hosts.back.wait_cloud_init()

    two_hosts.back.exec(["mountpoint", "/data"])


def test_a_host_that_dies_while_starting_shows_its_last_words(two_hosts: TwoHosts) -> None:
    data = b"#cloud-config\nbootcmd:\n- echo last words >/dev/console\n- systemctl poweroff -ff\n"

    with pytest.raises(HostError, match=r"(?s)doomed: died while starting.*last words"):
        two_hosts.world.add_host(HostSpec(name="doomed", user_data=data))
    two_hosts.world.remove_host("doomed")


def test_a_host_that_never_answers_is_reported_in_time(two_hosts: TwoHosts) -> None:
    data = b"#cloud-config\nbootcmd:\n- systemctl mask --now ssh.service\n"

    with pytest.raises(HostError, match=r"(?s)mute: did not answer .* within 6 s.*console"):
        two_hosts.world.add_host(HostSpec(name="mute", user_data=data), within=6)
    two_hosts.world.remove_host("mute")


def test_user_data_that_fails_is_told_by_the_wait_for_cloud_init(two_hosts: TwoHosts) -> None:
    data = b"#cloud-config\nruncmd:\n- echo the reason; false\n"
    host = two_hosts.world.add_host(HostSpec(name="broken", user_data=data))

    with pytest.raises(HostError, match=r"(?s)cloud-init.*the reason"):
        host.wait_cloud_init()
    two_hosts.world.remove_host("broken")


def test_a_host_outlives_the_process_that_made_it(two_hosts: TwoHosts) -> None:
    runner = process.recorded(two_hosts.front.folder / "runner.json")
    assert runner is not None

    parent = Path(f"/proc/{runner.pid}/stat").read_text().rpartition(")")[2].split()[1]

    assert parent == "1"


def test_a_volume_can_be_added_to_a_running_host(two_hosts: TwoHosts, tmp_path: Path) -> None:
    volume = tmp_path / "volume.img"
    disk.create(volume, 1)

    two_hosts.front.attach_disk(Disk(id="volume", device="vdb", file=str(volume)))
    two_hosts.front.exec(["mkfs.ext4", "-q", "/dev/vdb"])
    two_hosts.front.detach_disk("volume")

    until(lambda: not disk.devices(volume), within=5, what="release of the loop device")
