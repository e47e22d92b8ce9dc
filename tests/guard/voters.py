"""Three etcd voters with TLS on loopback."""

from __future__ import annotations

import functools
import signal
import subprocess
from pathlib import Path

from guard import etcd
from lab.world.ports import free_port
from tests.guard import waiting
from tests.guard.certificates import Authority

HEARTBEAT_MS = 100
ELECTION_MS = 500  # half of etcd's default: the tests use short leases


class Voter:
    """One etcd process."""

    def __init__(self, name: str, command: list[str], port: int, log: Path) -> None:
        self.name, self.port = name, port
        self.url = f"https://127.0.0.1:{port}"
        with log.open("wb") as output:
            self._process = subprocess.Popen(command, stdout=output, stderr=output)

    def freeze(self) -> None:
        """It keeps its connections and says nothing."""
        self._process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        self._process.send_signal(signal.SIGCONT)

    def end(self) -> None:
        self._process.kill()
        self._process.wait()


class Voters:
    """The cluster, and a client of it that no test disturbs."""

    def __init__(self, program: Path, folder: Path, authority: Authority) -> None:
        names = ["one", "two", "three"]
        peers = {name: f"https://127.0.0.1:{free_port()}" for name in names}
        cluster = ",".join(f"{name}={url}" for name, url in peers.items())
        shown = authority.issue("client")
        self.trust = etcd.Trust(
            ca=str(authority.certificate), certificate=str(shown.certificate), key=str(shown.key)
        )
        self.each = [
            self._start(program, folder, authority, name, peers[name], cluster) for name in names
        ]
        self.client = self.another_client()
        self.settle()

    @staticmethod
    def _start(
        program: Path, folder: Path, authority: Authority, name: str, peer: str, cluster: str
    ) -> Voter:
        shown, port = authority.issue(f"voter-{name}"), free_port()
        command = [str(program), f"--name={name}", f"--data-dir={folder}/{name}"]
        command += [f"--listen-client-urls=https://127.0.0.1:{port}"]
        command += [f"--advertise-client-urls=https://127.0.0.1:{port}"]
        command += [f"--listen-peer-urls={peer}", f"--initial-advertise-peer-urls={peer}"]
        command += [f"--initial-cluster={cluster}", "--log-level=warn", "--unsafe-no-fsync"]
        command += [f"--heartbeat-interval={HEARTBEAT_MS}", f"--election-timeout={ELECTION_MS}"]
        for side in ("", "peer-"):
            command += [f"--{side}cert-file={shown.certificate}", f"--{side}key-file={shown.key}"]
            command += [f"--{side}trusted-ca-file={authority.certificate}"]
            command += [f"--{side}client-cert-auth"]
        return Voter(name, command, port, folder / f"{name}.log")

    def another_client(self) -> etcd.Etcd:
        """For another thread."""
        return etcd.Etcd([voter.url for voter in self.each], self.trust, timeout=5)

    def settle(self) -> None:
        """Every voter answers with the quorum behind it."""
        for voter in self.each:
            alone = etcd.Etcd([voter.url], self.trust, timeout=2)
            waiting.eventually(f"voter {voter.name} answers", functools.partial(_answers, alone))

    def leader(self) -> Voter:
        """The one that the others follow."""
        return next(voter for voter in self.each if self._leads(voter))

    def _leads(self, voter: Voter) -> bool:
        answer = etcd.Etcd([voter.url], self.trust)._ask("maintenance/status", {})
        return bool(answer["leader"] == answer["header"]["member_id"])

    def end(self) -> None:
        for voter in self.each:
            voter.thaw()
            voter.end()


def _answers(client: etcd.Etcd) -> bool:
    try:
        client.read("/")
    except etcd.EtcdError:
        return False
    return True
