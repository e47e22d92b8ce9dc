"""A PostgreSQL with the fence, in a folder of its own."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
from pathlib import Path

import psycopg2
import psycopg2.extensions

from guard.fence import Holder
from lab.world.ports import free_port
from tests.guard import waiting

_PROGRAMS = Path("/usr/lib/postgresql/15/bin")
_ROLES = Path(__file__).with_name("roles.sql")
_FENCE = Path(__file__).parents[2] / "roles" / "database" / "usr/local/share/mesh/fence.sql"
PASSWORD = "of the tests"


class Database:
    """One server. It refuses to run as root, so it runs as its package's user then."""

    def __init__(self) -> None:
        user = "postgres" if os.geteuid() == 0 else pwd.getpwuid(os.geteuid()).pw_name
        # pytest's folders are closed to other users.
        self._folder = Path(tempfile.mkdtemp(prefix="mesh-guard-"))
        shutil.chown(self._folder, user)
        self.port = free_port()
        data = self._folder / "data"
        initdb = [str(_PROGRAMS / "initdb"), f"--pgdata={data}", "--no-sync", "--username=postgres"]
        initdb += ["--auth-local=trust", "--auth-host=scram-sha-256", "--encoding=UTF8"]
        subprocess.run(initdb, check=True, capture_output=True, user=user, cwd=self._folder)
        command = [str(_PROGRAMS / "postgres"), "-D", str(data), "-p", str(self.port)]
        command += ["-k", str(self._folder), "-c", "listen_addresses=127.0.0.1", "-c", "fsync=off"]
        with (self._folder / "log").open("wb") as log:
            self._process = subprocess.Popen(
                command, stdout=log, stderr=log, user=user, cwd=self._folder
            )
        waiting.eventually("PostgreSQL answers", self._answers)
        self.run("CREATE DATABASE headscale", database="postgres")
        self.run(_ROLES.read_text())
        self.run(_FENCE.read_text())

    def run(self, statements: str, database: str = "headscale") -> None:
        """As the superuser."""
        connection = self.connect("postgres", database)
        connection.cursor().execute(statements)
        connection.close()

    def reset(self) -> None:
        """Nobody has ever taken the fence."""
        self.run("UPDATE fence.holder SET host = 'none', token = 0")
        self.run("ALTER ROLE headscale_hs_1 LOGIN; ALTER ROLE headscale_hs_2 LOGIN")

    def holder(self) -> Holder:
        """Who holds the fence."""
        connection = self.connect("postgres")
        with connection.cursor() as cursor:
            cursor.execute("SELECT host, token FROM fence.holder")
            host, token = cursor.fetchall()[0]
        connection.close()
        return Holder(host, token)

    def waits_for_a_lock(self) -> bool:
        """Whether any session does."""
        connection = self.connect("postgres")
        with connection.cursor() as cursor:
            cursor.execute("SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'")
            found = cursor.fetchall()[0][0]
        connection.close()
        return bool(found)

    def connect(self, role: str, database: str = "headscale") -> psycopg2.extensions.connection:
        """A session of the role; the superuser's is a local one without a password."""
        place = str(self._folder) if role == "postgres" else "127.0.0.1"
        made = psycopg2.connect(
            host=place, port=self.port, dbname=database, user=role, password=PASSWORD
        )
        made.autocommit = True
        return made

    def end(self) -> None:
        """Stop it and remove everything."""
        self._process.send_signal(signal.SIGQUIT)  # at once, with all its children
        self._process.wait()
        shutil.rmtree(self._folder)

    def _answers(self) -> bool:
        try:
            self.connect("postgres", "postgres").close()
        except psycopg2.OperationalError:
            return False
        return True
