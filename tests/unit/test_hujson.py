"""Covers the reader of HuJSON: values, lines, and what it refuses."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mesh import hujson

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)  # fmt: skip


@given(VALUES, st.sampled_from([None, 1, 4]))
def test_json_is_read_as_json_reads_it(value: object, indent: int | None) -> None:
    assert hujson.parse(json.dumps(value, indent=indent)).value == value


@given(st.lists(st.sampled_from(["// it's \"{", "/* a\n, b */", "\n", "\t"])))
def test_comments_and_space_change_nothing(between: list[str]) -> None:
    gap = "".join(f"{text}\n" for text in between)

    read = hujson.parse(f'{gap}{{{gap}"a"{gap}:{gap}[{gap}1{gap},{gap}]{gap},{gap}}}{gap}')

    assert read.value == {"a": [1]}
    assert read.line(("a",)) == 1 + 2 * gap.count("\n")
    assert read.line(("a", 0)) == 1 + 5 * gap.count("\n")


def test_a_string_keeps_what_looks_like_a_comment() -> None:
    text = '{"a": "http://x/*y*/", /* gone, */ "b": [1, 2,], // gone\n}'

    assert hujson.parse(text).value == {"a": "http://x/*y*/", "b": [1, 2]}


def test_every_element_has_its_line() -> None:
    read = hujson.parse('{\n"a": [\n1,\n{"b":\n2}],\n}')

    lines = {path: read.line(path) for path in [("a",), ("a", 0), ("a", 1), ("a", 1, "b")]}
    assert lines == {("a",): 2, ("a", 0): 3, ("a", 1): 4, ("a", 1, "b"): 4}
    assert read.line(("a", 1, "c", 7)) == 4, "what is missing is told where it would be"


def test_a_key_that_is_written_twice_is_remembered() -> None:
    read = hujson.parse('{"a": 1,\n"b": {"a": 2},\n"a": 3}')

    assert (read.value["a"], read.repeated, read.line(("a",))) == (3, {("a",): 1}, 3)


@pytest.mark.parametrize(
    ("text", "line", "reason"),
    [
        ("", 1, "expected a value"),
        ("{\n", 2, "expected a key"),
        ('{"a": 1 "b": 2}', 1, "expected a comma or }"),
        ("[1,\n,]", 2, "expected a value, found ,"),
        ("[1]\n[2]", 2, "expected nothing more, found ["),
        ("{a: 1}", 1, "unexpected 'a'"),
        ("['a']", 1, 'unexpected "\'"'),
        ('[\n"a\n"]', 2, "the string that begins here never ends"),
        ("[\n\n/* 1]", 3, "the comment that begins here never ends"),
        (r'["\x"]', 1, "invalid \\escape"),
        ("[01]", 1, "expected a comma or ]"),
        ("[" * 200, 1, "nested more than 64 levels deep"),
    ],
)
def test_what_is_not_hujson_is_refused_with_its_line(text: str, line: int, reason: str) -> None:
    with pytest.raises(hujson.HujsonError) as caught:
        hujson.parse(text)

    assert caught.value.line == line
    assert reason in caught.value.reason
