"""``__exit__`` of what begins a block: known to be over even where it was never run.

A signal handler may raise at the very beginning of a function, before its first line. So an
``__exit__()`` in Python may be called and do nothing. What the interpreter calls at the end of a
``with`` statement is looked up when that begins, and only the statement holds it, until it is left
in whichever way: so the block is over when that is gone. It is made of ``partial``, because the
traceback of an exception keeps what a function of Python was called with, but not what called it.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from functools import partial
from typing import Any, Protocol
from weakref import ref

from .blocks import Block


class BeginsBlocks(Protocol):
    """What can stand in a ``with`` statement, and ends a block with it."""

    next_block: Block | None

    def end_block(self, block: Block, kind: Any, error: Any, trace: Any, /) -> Any:
        """End a block, with what ``__exit__()`` gets."""
        ...


class ExitOfStatement:
    """The attribute ``__exit__`` of a class whose objects begin blocks."""

    def __get__(self, owner: BeginsBlocks | None, _: object = None) -> Callable[..., Any]:
        block = Block()
        if owner is None:  # an ExitStack asks the class
            end = partial(_end, block)
            _pending.block = block
            block.in_stack = True
        else:
            end = partial(owner.end_block, block)
            owner.next_block = block
        block.statement = ref(end)
        return end


class _Pending(threading.local):
    """The block that an ExitStack of this thread is about to begin."""

    def __init__(self) -> None:
        self.block: Block | None = None


_pending = _Pending()


def _end(block: Block, owner: BeginsBlocks, *exception: Any) -> Any:
    return owner.end_block(block, *exception)


def next_block(owner: BeginsBlocks) -> Block:
    """Return the block of the ``with`` statement that begins now.

    It is one that nobody can tell the end of, if ``__enter__()`` was called by hand.
    """
    asked = owner.next_block
    if asked is not None:
        owner.next_block = None
        if asked.statement() is not None:
            return asked
    in_stack, _pending.block = _pending.block, None
    return Block() if in_stack is None or in_stack.is_over else in_stack
