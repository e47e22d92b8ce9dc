"""Covers clients/install.sh --from-repository, with stand-ins for the package managers.

A real repository is not reached from here: only what the managers are asked to do is checked.
"""

from __future__ import annotations

import pytest

from tests.clients.machine import Machine

FINGERPRINT = "2596A99EAAB33821893C0A79458CA832957F5868"
OTHER = "0123456789ABCDEF0123456789ABCDEF01234567"
MIRROR = "https://mirror.example/stable"


DOWNLOAD = """#!/bin/sh
echo "curl $*" >>/fake/calls
while [ "$1" != -o ]; do shift; done
echo key >"$2"
"""


def _key(machine: Machine, *fingerprints: str) -> None:
    """The repository's key, as gpg lists it; its download is stood for too."""
    rows = [f"pub:-:4096:\nfpr:::::::::{one}:\nsub:\nfpr:::::::::9:\n" for one in fingerprints]
    machine.write("/fake/keys", "".join(rows))
    machine.write("/fake/bin/curl", DOWNLOAD, "755")


def test_debian_gets_the_package_of_a_source_that_only_that_key_signs(debian: Machine) -> None:
    _key(debian, FINGERPRINT)

    ended = debian.installer("--repository", MIRROR)

    assert ended.status == 0, ended.said
    assert ended.told["source"] == "repository"
    assert debian.read("/etc/apt/sources.list.d/mesh-tailscale.list") == (
        f"deb [signed-by=/etc/apt/keyrings/mesh-tailscale.gpg] {MIRROR}/debian bookworm main\n"
    )
    assert debian.read("/etc/apt/keyrings/mesh-tailscale.gpg") == "key\n"
    assert debian.calls("curl")[0].endswith(f"{MIRROR}/debian/bookworm.noarmor.gpg")


def test_rocky_gets_a_source_whose_packages_and_lists_must_be_signed(rocky: Machine) -> None:
    _key(rocky, FINGERPRINT)

    ended = rocky.installer("--repository", MIRROR)

    assert ended.status == 0, ended.said
    assert rocky.read("/etc/yum.repos.d/mesh-tailscale.repo").splitlines() == [
        "[mesh-tailscale]",
        "name=Tailscale for the mesh",
        f"baseurl={MIRROR}/rhel/9/$basearch",
        "gpgkey=file:///etc/pki/rpm-gpg/RPM-GPG-KEY-mesh-tailscale",
        "gpgcheck=1",
        "repo_gpgcheck=1",
        "enabled=1",
    ]


def test_rocky_gets_the_programs_of_the_store_as_debian_does(rocky: Machine) -> None:
    assert rocky.install().told["source"] == "store"
    assert not rocky.install().told["changed"]


@pytest.mark.parametrize("fingerprints", [[OTHER], [FINGERPRINT, OTHER], []])
def test_another_key_is_refused_and_leaves_nothing(
    debian: Machine, fingerprints: list[str]
) -> None:
    _key(debian, *fingerprints)
    before = debian.changes()

    ended = debian.installer("--from-repository")

    assert ended.status == 13
    assert FINGERPRINT in ended.told["error"]
    assert debian.changes() == before
    assert not debian.calls("apt-get")


def test_a_second_run_with_packages_changes_nothing(debian: Machine) -> None:
    _key(debian, FINGERPRINT)
    debian.installer("--repository", MIRROR)

    ended = debian.installer("--repository", MIRROR)

    assert (ended.status, ended.told["changed"]) == (0, False)


def test_a_version_can_be_pinned(debian: Machine) -> None:
    _key(debian, FINGERPRINT)

    debian.installer("--repository", MIRROR, "--version", "1.102.3")

    assert any(call.endswith("tailscale=1.102.3") for call in debian.calls("apt-get"))
    assert not debian.installer("--repository", MIRROR, "--version", "1.102.3").told["changed"]
    assert debian.installer("--repository", MIRROR, "--version", "1.104.0").told["changed"]


def test_a_package_that_cannot_be_had_is_told_so(debian: Machine) -> None:
    _key(debian, FINGERPRINT)
    debian.write("/fake/no-mirror")

    assert debian.installer("--repository", MIRROR).status == 12


@pytest.mark.parametrize("family", ["debian", "rocky"])
def test_uninstall_takes_package_source_and_key_away(
    family: str, request: pytest.FixtureRequest
) -> None:
    machine: Machine = request.getfixturevalue(family)
    _key(machine, FINGERPRINT)
    before = machine.changes()
    machine.installer("--repository", MIRROR)

    ended = machine.script("--uninstall")

    assert ended.status == 0, ended.said
    assert machine.changes() == before
