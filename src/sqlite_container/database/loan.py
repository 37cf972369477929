"""A connection for the length of a ``with`` block."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, NoReturn
from weakref import ref

from ..connection.blocks import Block, nobody_can_tell
from ..connection.borrower import ThreadBorrower
from ..connection.connection import Connection
from ..connection.error_translation import cut_short
from ..connection.statement_exit import ExitOfStatement, next_block

if TYPE_CHECKING:
    from types import TracebackType


class Loan:
    """A connection for the length of a ``with`` block; each block has its own."""

    __slots__ = ("__weakref__", "_database", "_lent", "_read_only", "_transaction", "next_block")

    def __init__(
        self, database: Any, *, read_only: bool = False, transaction: bool = False
    ) -> None:
        self._database = database
        self._read_only = read_only
        self._transaction = transaction
        self._lent: list[tuple[Connection, ThreadBorrower | None, Block]] = []
        self.next_block: Block | None = None

    def __repr__(self) -> str:
        kind = "transaction" if self._transaction else "connection"
        kind = "reader" if self._read_only else kind
        return f"<{kind} of {self._database!r}, for a with block>"

    def __getattr__(self, name: str) -> NoReturn:
        raise AttributeError(
            f"this lends a connection for a block: write 'with database.connection() as db:', and"
            f" use db.{name} in it"
        )

    def __enter__(self) -> Connection:
        block = self.next_block
        if block is None or block.statement() is None:
            block = next_block(self)
        else:
            self.next_block = None
        if self._transaction:
            joined: Connection | None = self._database.open_transaction()
            if joined is not None:
                joined.begin_block(block)
                self._lent.append((joined, None, block))
                return joined
        return self._borrow(block)

    def _borrow(self, block: Block) -> Connection:
        until = ref(self) if block.statement is nobody_can_tell else block.statement
        borrower = ThreadBorrower(self._database, until)
        connection: Connection = self._database.lend(borrower, read_only=self._read_only)
        try:
            if self._transaction:
                connection.begin_block(block)
            self._lent.append((connection, borrower, block))
        except BaseException:
            connection.lender.give_back(connection, borrower)
            raise
        return connection

    if TYPE_CHECKING:

        def __exit__(
            self,
            kind: type[BaseException] | None,
            error: BaseException | None,
            trace: TracebackType | None,
        ) -> Literal[False]: ...
    else:
        __exit__ = ExitOfStatement()

    def end_block(
        self,
        _: Block,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> Literal[False]:
        """End the loan, and before it the transaction, if it is one."""
        connection, borrower, block = self._lent.pop()
        try:
            if self._transaction:
                connection.end_block(block, kind, error, trace)
            interrupted = error and cut_short(error, [connection.lender])
            if interrupted is not None:
                raise interrupted from error
        finally:
            connection.lender.give_back(connection, borrower)
        return False
