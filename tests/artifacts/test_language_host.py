"""artifacts/language-python: programs and policy packs run as under Pulumi's own host.

The engine is the locked one, the virtual environment the one these tests run in.
"""

import os
import re
import select
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from artifacts import build
from tests.processes import Process, running, wait_for_ends

PROGRAM = """
import sys

import pulumi

pulumi.ComponentResource("test:index:Box", "box")
pulumi.export("prefix", sys.prefix)
pulumi.export("mood", pulumi.Config().get("mood"))
"""
POLICY = """
from pulumi_policy import EnforcementLevel, PolicyPack, StackValidationPolicy


def validate(args, report):
    for resource in args.resources:
        if resource.resource_type == "test:index:Box":
            report(f"{resource.name} is a box", resource.urn)


policy = StackValidationPolicy("no-box", "no boxes", validate, EnforcementLevel.MANDATORY)
PolicyPack("test", [policy])
"""


@dataclass(frozen=True)
class Project:
    """A Pulumi project of its own with stack `dev`."""

    folder: Path
    environment: dict[str, str]

    def write(self, file: str, text: str) -> None:
        path = self.folder / file
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)

    def write_options(self, **options: str) -> None:
        listed = ", ".join(f"{name}: {value}" for name, value in options.items())
        runtime = f"runtime: {{name: python, options: {{{listed}}}}}\n"
        self.write("Pulumi.yaml", f"name: test\n{runtime}")
        self.write("../pack/PulumiPolicy.yaml", runtime)

    def pulumi(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run the engine; both its streams are in stdout, in the order of writing."""
        return subprocess.run(
            ["pulumi", "--non-interactive", *arguments],
            cwd=self.folder,
            env=self.environment,
            check=False,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )


@pytest.fixture(scope="session")
def engine(locate: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the engine and its language host side by side, as they find each other."""
    folder = tmp_path_factory.mktemp("engine")
    for part in build.ENGINE:
        shutil.copy2(locate(part), folder / part)
    return folder


@pytest.fixture
def project(engine: Path, tmp_path: Path) -> Project:
    (tmp_path / "state").mkdir()
    environment = {
        "HOME": str(tmp_path),
        "PATH": f"{engine}:/usr/bin:/bin",
        "PULUMI_HOME": str(tmp_path / "home"),
        "PULUMI_BACKEND_URL": f"file://{tmp_path}/state",
        "PULUMI_CONFIG_PASSPHRASE": "test",
        "PULUMI_SKIP_UPDATE_CHECK": "true",
        "PULUMI_DISABLE_AUTOMATIC_PLUGIN_ACQUISITION": "true",
    }
    project = Project(tmp_path / "project", environment)
    project.write("__main__.py", PROGRAM)
    project.write("../pack/__main__.py", POLICY)
    project.write_options(toolchain="pip", virtualenv=sys.prefix)
    assert project.pulumi("stack", "init", "dev").returncode == 0
    return project


def test_a_program_runs_in_the_virtual_environment_of_its_project(project: Project) -> None:
    done = project.pulumi("preview")
    assert done.returncode == 0, done.stdout
    assert f'prefix: "{sys.prefix}"' in done.stdout


def test_a_program_gets_the_configuration_of_its_stack(project: Project) -> None:
    project.pulumi("config", "set", "mood", "fine")
    assert re.search(r'mood\s*: "fine"', project.pulumi("preview").stdout)


def test_a_traceback_starts_at_the_program_and_is_shown_once(project: Project) -> None:
    project.write("helper.py", "def fail():\n    raise ValueError('no such region')\n")
    project.write("__main__.py", "import helper\n\nhelper.fail()\n")
    done = project.pulumi("preview")
    assert done.returncode != 0
    shown = [line.strip() for line in done.stdout.splitlines()]
    start = shown.index("Traceback (most recent call last):")
    assert shown[start + 1] == f'File "{project.folder}/__main__.py", line 3, in <module>'
    assert shown.count("ValueError: no such region") == 1
    assert "non-zero exit code" not in done.stdout


def test_a_program_that_exits_on_its_own_fails_with_its_exit_code(project: Project) -> None:
    project.write("__main__.py", "raise SystemExit(7)\n")
    done = project.pulumi("preview")
    assert done.returncode != 0
    assert "Program exited with non-zero exit code: 7" in done.stdout


def test_a_policy_pack_refuses_what_it_forbids(project: Project) -> None:
    done = project.pulumi("preview", "--policy-pack", "../pack")
    assert done.returncode != 0
    assert "box is a box" in done.stdout


def test_a_policy_pack_that_fails_to_load_shows_its_traceback(project: Project) -> None:
    project.write("../pack/__main__.py", "raise RuntimeError('broken pack')\n")
    done = project.pulumi("preview", "--policy-pack", "../pack")
    assert done.returncode != 0
    assert "RuntimeError: broken pack" in done.stdout


def test_a_missing_virtual_environment_is_reported_with_its_remedy(project: Project) -> None:
    project.write_options(virtualenv="nowhere")
    done = project.pulumi("preview")
    assert done.returncode != 0
    assert f"python3 -m venv {project.folder}/nowhere" in done.stdout


@pytest.mark.parametrize(
    ("option", "value"), [("toolchain", "conda"), ("typechecker", "guess"), ("virtualenv", "3")]
)
def test_an_option_that_is_not_supported_is_named_with_its_value(
    project: Project, option: str, value: str
) -> None:
    project.write_options(**{option: value})
    done = project.pulumi("preview")
    assert done.returncode != 0
    assert f"runtime option {option}: {value} is not supported" in done.stdout


def test_the_type_checker_of_the_project_stops_a_program_before_it_runs(project: Project) -> None:
    project.write_options(virtualenv=sys.prefix, typechecker="mypy")
    project.write("__main__.py", "import pulumi\n\npulumi.export('n', 'a' + 1)\n")
    done = project.pulumi("preview")
    assert done.returncode != 0
    assert "Unsupported operand types for +" in done.stdout
    assert "Traceback" not in done.stdout


@pytest.fixture
def endless(project: Project) -> Iterator[subprocess.Popen[str]]:
    """A preview whose program, which has begun, does not end by itself."""
    begun = project.folder / "begun"
    os.mkfifo(begun)
    project.write("__main__.py", f"import time\n\nopen({str(begun)!r}, 'w')\ntime.sleep(600)\n")
    with subprocess.Popen(
        ["pulumi", "preview", "--non-interactive"],
        cwd=project.folder,
        env=project.environment,
        text=True,
        stdout=subprocess.DEVNULL,
    ) as preview:
        try:
            wait_for_writer(begun, within=60)
            yield preview
        finally:
            preview.kill()


@pytest.mark.slow
@pytest.mark.parametrize("end", [signal.SIGINT, signal.SIGKILL])
def test_no_program_outlives_its_engine(
    endless: subprocess.Popen[str], project: Project, end: signal.Signals
) -> None:
    assert processes(of=project)
    endless.send_signal(end)
    wait_for_ends(lambda: processes(of=project), within=30)


def processes(of: Project) -> list[Process]:
    """The processes that run in the project's folder."""
    return [process for process in running() if process.folder == of.folder]


def wait_for_writer(fifo: Path, within: float) -> None:
    """Return when someone has opened the fifo for writing and closed it again."""
    reader = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
    try:
        hung_up = select.poll()
        hung_up.register(reader, 0)  # a fifo hangs up when its only writer closes it
        assert hung_up.poll(within * 1000), f"not within {within} s: the program has not begun"
    finally:
        os.close(reader)
