"""No exception of a signal handler leaves a lock locked for ever: read in the bytecode.

The interpreter runs signal handlers only at certain instructions: at the beginning of a function,
after a call, and at a jump back. In a ``with`` block each of these has to be covered by an entry
of the exception table that leads to the end of the block, or ``__exit__`` would not be called.
On Python 3.12 and 3.13 the jump back of a loop that ends such a block is not covered.
"""

import dis
import importlib.util
import pkgutil
import re
import sys
from collections.abc import Iterator
from types import CodeType
from typing import Any, NamedTuple

import pytest

import sqlite_container

LOOKS = re.compile(r"CALL(_KW|_FUNCTION_EX)?|(POP_)?JUMP_BACKWARD(_IF_\w+)?|RESUME")
"""The instructions at which signal handlers may run."""
LEAVES = re.compile(r"RETURN_\w+|RAISE_VARARGS|RERAISE")
"""The instructions that nothing follows."""
FREE = {"suppress"}
"""What has nothing to release. Not a list of locks: a new lock would be missing in it."""


class Block(NamedTuple):
    """A ``with`` statement: where its body begins, and where an exception in it leads."""

    body: int
    handler: int
    line: int


class Reading:
    """The bytecode of one function, as far as ``with`` blocks are concerned."""

    def __init__(self, code: CodeType) -> None:
        self.code = code
        self.instructions = list(dis.get_instructions(code))
        self.at = {each.offset: index for index, each in enumerate(self.instructions)}
        self.entries: list[Any] = list(getattr(dis.Bytecode(code), "exception_entries"))  # noqa: B009

    def blocks(self) -> Iterator[Block]:
        """Find each ``with`` statement: an entry that leads to WITH_EXCEPT_START tells of it."""
        seen = set()
        for entry in self.entries:
            target = self.at[entry.target]
            opnames = [each.opname for each in self.instructions[target : target + 2]]
            if "WITH_EXCEPT_START" in opnames and entry.target not in seen:
                seen.add(entry.target)
                first = self.at[entry.start]
                if not self._context(first) & FREE:
                    yield Block(first, entry.target, self._line(first))

    def _context(self, body: int) -> set[object]:
        """Return the names in the expression after ``with``."""
        place = self.instructions[body - 1].positions
        return {each.argval for each in self.instructions if _is_within(each.positions, place)}

    def gaps(self, block: Block) -> Iterator[str]:
        """Walk through the body, and find the instructions at which its end is not safe."""
        todo, seen = [block.body], set[int]()
        while todo:
            index = todo.pop()
            if index in seen or index >= len(self.instructions):
                continue
            seen.add(index)
            instruction = self.instructions[index]
            handlers = self._handlers(instruction.offset)
            if block.handler not in handlers:
                if self._ends_block(index):
                    continue
                if LOOKS.fullmatch(instruction.opname):
                    line, name = self._line(index), self.code.co_qualname
                    yield f"{instruction.opname} at {instruction.offset}, line {line} in {name}"
            elif handlers[0] != block.handler:
                todo.append(self.at[handlers[0]])  # of a try statement in the body
            todo += self._next(index)

    def _handlers(self, offset: int) -> list[int]:
        """Return where an exception leads, and from there, and so on."""
        handlers: list[int] = []
        while (target := self._handler(offset)) is not None and target not in handlers:
            handlers.append(target)
            offset = target
        return handlers

    def _handler(self, offset: int) -> int | None:
        for entry in self.entries:
            if entry.start <= offset < entry.end:
                return int(entry.target)
        return None

    def _ends_block(self, index: int) -> bool:
        """Tell whether this is the call of ``__exit__(None, None, None)``."""
        before = self.instructions[index - 3 : index]
        nones = all(each.opname == "LOAD_CONST" and each.argval is None for each in before)
        return nones and self.instructions[index].opname in ("PRECALL", "CALL")

    def _next(self, index: int) -> Iterator[int]:
        """Return the instructions that may follow this one."""
        instruction = self.instructions[index]
        if LEAVES.fullmatch(instruction.opname):
            return
        if instruction.opcode in JUMPS:
            yield self.at[instruction.argval]
            if not re.fullmatch(r"JUMP_(FORWARD|BACKWARD\w*)", instruction.opname):
                yield index + 1
        else:
            yield index + 1

    def _line(self, index: int) -> int:
        place = self.instructions[index].positions
        return (place and place.lineno) or self.code.co_firstlineno


JUMPS = {*dis.hasjrel, *dis.hasjabs}


def _is_within(inner: dis.Positions | None, outer: dis.Positions | None) -> bool:
    """Tell whether what is at one place in the source is a part of what is at another."""
    if inner is None or outer is None or None in (*inner, *outer):
        return False
    begin, end = (inner.lineno, inner.col_offset), (inner.end_lineno, inner.end_col_offset)
    first, last = (outer.lineno, outer.col_offset), (outer.end_lineno, outer.end_col_offset)
    return first <= begin and end <= last


def readings(code: CodeType) -> Iterator[Reading]:
    """Read a code object, and those of the functions in it."""
    yield Reading(code)
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from readings(constant)


def gaps(code: CodeType) -> list[str]:
    """Return where a signal handler may run in a block, and its end would not be reached."""
    found = [(each, block) for each in readings(code) for block in each.blocks()]
    return [
        f"the block of line {block.line}: {gap}"
        for reading, block in found
        for gap in reading.gaps(block)
    ]


def modules() -> list[str]:
    """Return the names of all modules of the package."""
    found = pkgutil.walk_packages(sqlite_container.__path__, "sqlite_container.")
    return ["sqlite_container", *(each.name for each in found)]


def code_of(module: str) -> CodeType:
    """Return the bytecode of a module, without running it."""
    spec = importlib.util.find_spec(module)
    assert spec is not None
    code: CodeType = spec.loader.get_code(module)  # type: ignore[union-attr]
    return code


@pytest.mark.parametrize("module", modules())
def test_every_block_is_left_whatever_a_signal_handler_raises(module: str) -> None:
    """In no ``with`` block a signal handler can run where its end would be skipped."""
    assert gaps(code_of(module)) == []


# -- the reading itself --------------------------------------------------------------------

LOOP_AT_THE_END = """
def wait(self):
    with self.lock:
        while self.busy():
            self.back.wait()
"""
LOOP_IN_A_TRY = """
def wait(self):
    with self.lock:
        try:
            self.first()
        except ValueError:
            while self.busy():
                self.back.wait()
        finally:
            self.last()
        return 1
"""
NO_LOOP = """
def take(self, key):
    while True:
        with self.lock:
            if key in self.rows:
                return self.rows.pop(key)
            if not self.more():
                break
        try:
            with self.lock, self.other as other:
                other.append(key)
        finally:
            self.end()
"""
NOTHING_TO_RELEASE = """
def wait(self):
    with contextlib.suppress(OSError):
        while self.busy():
            self.back.wait()
"""


@pytest.mark.skipif(sys.version_info[:2] not in {(3, 12), (3, 13)}, reason="covered there")
@pytest.mark.parametrize("source", [LOOP_AT_THE_END, LOOP_IN_A_TRY])
def test_a_loop_in_a_block_is_found(source: str) -> None:
    """The jump back of a loop is not covered, and the reading finds it."""
    assert ["JUMP_BACKWARD" in gap for gap in gaps(compile(source, "<test>", "exec"))] == [True]


@pytest.mark.parametrize(("source", "blocks"), [(NO_LOOP, 3), (NOTHING_TO_RELEASE, 0)])
def test_what_is_right_is_left_alone(source: str, blocks: int) -> None:
    """A block without a loop is fine, and so is one that has nothing to release."""
    code = compile(source, "<test>", "exec")
    assert sum(len(list(reading.blocks())) for reading in readings(code)) == blocks
    assert gaps(code) == []
