"""What mesh-load says to requests that make no sense; no server is asked."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from drills.load import plain
from lab.world.ports import free_port
from meshctl.load.tool import Tool, ToolError


@pytest.fixture
def tool() -> Iterator[Tool]:
    """One that runs, without nodes."""
    with Tool([str(plain.program("mesh-load"))]) as made:
        yield made


def test_nodes_join_only_a_server_that_was_named(tool: Tool) -> None:
    with pytest.raises(ToolError, match="open: comes before join"):
        tool.join({"web": "key"}, {"web-1": "web"}, at_once=1, within=1)


def test_a_server_that_is_not_there_is_told_of(tool: Tool) -> None:
    with pytest.raises(ToolError, match="connection refused"):
        tool.open(f"https://127.0.0.1:{free_port()}")


def test_a_class_that_nobody_described_is_named(tool: Tool) -> None:
    with pytest.raises(ToolError, match='class: web-1: "web" is no class of sees'):
        tool.expect({"web-1": "web"}, {"db": ["db"]})
    with pytest.raises(ToolError, match='sees: web: "db" is no class'):
        tool.expect({}, {"web": ["db"]})


def test_a_node_that_is_not_there_cannot_end(tool: Tool) -> None:
    with pytest.raises(ToolError, match='names: there is no node "web-1"'):
        tool.end(["web-1"])


def test_an_empty_mark_is_refused(tool: Tool) -> None:
    with pytest.raises(ToolError, match="text: is empty"):
        tool.mark("")


def test_the_program_goes_on_after_a_request_that_it_refused(tool: Tool) -> None:
    with pytest.raises(ToolError):
        tool.mark("")
    assert tool.report(0).nodes == 0


def test_the_end_of_its_input_ends_the_program(tool: Tool) -> None:
    with Tool(tool.line) as other:
        other.report(0)
    with pytest.raises(ToolError, match="not started"):
        other.report(0)


def test_a_program_that_ends_by_itself_is_told_of_with_its_last_words() -> None:
    line = ["sh", "-c", "echo no room >&2; exit 1"]
    with pytest.raises(ToolError, match="mesh-load ended: no room"), Tool(line):
        pass


def test_a_tool_that_was_stopped_does_not_begin() -> None:
    tool = Tool([str(plain.program("mesh-load"))])
    tool.stop()
    with pytest.raises(ToolError, match="stopped before it began"), tool:
        pass
