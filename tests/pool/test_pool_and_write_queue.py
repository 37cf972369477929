"""The pool and the write queue, driven together by threads that borrow, write and die."""

import ctypes
import sqlite3
import sys
import tempfile
import threading
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from queue import SimpleQueue
from unittest.mock import patch

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from common.databases import count, files, plain
from sqlite_container import (
    Connection,
    Database,
    DatabaseBusy,
    DatabaseClosed,
    NotYourConnection,
    PoolTimeout,
    ReadOnlyConnection,
    StatementInterrupted,
    TransactionError,
    TransactionLost,
    WriteDeadlock,
)
from sqlite_container.database.loan import Loan
from sqlite_container.pool.pool import Pool
from sqlite_container.writing import write_lock

PATIENT, IMPATIENT = 600.0, 0.005
"""Seconds that anybody waits: in one database for ever, in the other hardly at all."""
INSERT = "INSERT INTO note VALUES ('x')"
CONFLICT = "INSERT OR ROLLBACK INTO one VALUES (1)"
"""Fails, and SQLite rolls back the transaction that it is in."""
NAPS = (
    "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT nap(i) FROM n) SELECT i FROM n WHERE i < 0"
)
"""A query without an end, which needs little of the processor."""
WHO, WHICH = st.integers(0, 3), st.integers(0, 1)
"""Which actor, and which of its connections or of the databases.

What does not apply does nothing: Hypothesis wants to find the same choices in every run, and
what the threads have come to may differ.
"""

STATEMENTS = ["block", "insert", "immediate", "conflict", "snapshot", "script"]
"""What begins a transaction, or goes on in one."""
HIT = -1.0
"""In place of seconds: when what is waited for comes, an exception comes with it."""

Ends = set[type[BaseException] | None]
"""How a job may end: with one of these errors, or with None."""


ROLLS_BACK = {sqlite3.IntegrityError, sqlite3.OperationalError, StatementInterrupted}
"""Errors with which SQLite rolls back a transaction: of CONFLICT, and of an interrupted write."""


class Hit(BaseException):
    """Ends a wait from outside, as Ctrl-C and gevent's time-out do."""


@dataclass(eq=False)
class Held:
    """A connection that an actor has.

    ``blocks`` has, for each block that goes on, how many rows there were when it began.
    """

    pool: Pool
    loan: Loan
    db: Connection
    rows: int = 0  # written, and not committed
    blocks: list[int] = field(default_factory=list)
    snapshot: bool = False  # its transaction only reads
    open: bool = False  # in a transaction
    lost: bool = False  # SQLite has rolled back the transaction of the blocks
    taken: bool = False  # somebody else gave it back while its actor was inside

    @property
    def writing(self) -> bool:
        """Whether it is in a transaction that writes."""
        db = self.db
        return not (db.closed or db.read_only or self.snapshot) and db.in_transaction


class Job:
    """One thing that an actor was told to do, and how it may end."""

    def __init__(self, call: Callable[[], None], pool: Pool | None, ends: Ends) -> None:
        self.call = call
        self.pool = pool
        self.ends = ends
        self.patient = is_patient(pool)
        self.urgent = False  # something was done that has to end it
        self.done = threading.Event()
        self.error: type[BaseException] | None = None
        self.story = ""


class Actor(threading.Thread):
    """A borrower: does one thing after the other, each when it is told to."""

    def __init__(self, owners: dict[Connection, object]) -> None:
        super().__init__(daemon=True)
        self.owners = owners
        self.orders: SimpleQueue[Job | None] = SimpleQueue()
        self.job: Job | None = None
        self.held: list[Held] = []
        self.closed: list[Held] = []  # given back by close(), while their block goes on
        self.committed = 0
        self.inside: Held | None = None  # what its job uses
        self.sql = ""  # the statement in which it naps
        self.napping = False
        self.start()

    def run(self) -> None:
        while (job := self.orders.get()) is not None:
            try:
                job.call()
            except BaseException as error:  # noqa: BLE001
                job.error, job.story = type(error), traceback.format_exc()
            job.done.set()

    # -- what it can be told, and does in its own thread --------------------------------

    def borrow(self, database: Database, pool: Pool, read_only: bool) -> None:
        loan = database.reader() if read_only else database.connection()
        db = loan.__enter__()
        self.own(db)
        assert db.read_only is read_only
        assert not db.in_transaction
        self.held.append(Held(pool, loan, db))

    def own(self, db: Connection) -> None:
        """Note that it has a connection, which nobody else has."""
        me = object()
        assert self.owners.setdefault(db, me) is me
        assert db.borrower is not None
        assert db.borrower.thread is self

    def write_and_give_back(self, database: Database, times: int) -> None:
        for _ in range(times):
            with database.transaction() as db:
                self.own(db)
                db.execute(INSERT)
                del self.owners[db]
            self.committed += 1

    def write_and_join(self, database: Database, held: Held, times: int) -> None:
        """Write where a block goes on already: in its transaction, on its connection."""
        with noting_the_end(held):
            for _ in range(times):
                with database.transaction() as db:
                    assert db is held.db
                    db.execute(INSERT)
                held.rows += 1

    def give_back(self, held: Held) -> None:
        self.disown(held)
        held.loan.__exit__(None, None, None)

    def close(self, held: Held) -> None:
        """Give it back within its block."""
        self.disown(held)
        self.closed.append(held)
        held.db.close()

    def leave(self, held: Held) -> None:
        """End a block whose connection was closed, and may be somebody else's."""
        self.closed.remove(held)
        held.loan.__exit__(None, None, None)

    def disown(self, held: Held) -> None:
        self.held.remove(held)
        del self.owners[held.db]

    def begin(self, held: Held, how: str) -> None:
        with noting_the_end(held):
            if how == "snapshot":
                was_open = held.db.in_transaction
                held.db.transaction(read_only=True).__enter__()
                held.blocks.append(held.rows)
                held.snapshot = held.snapshot or not was_open
            elif how == "block":
                held.db.__enter__()
                held.blocks.append(held.rows)
            else:
                self.write(held, how)

    def write(self, held: Held, how: str) -> None:
        """Execute what needs the write lock."""
        try:
            if how == "insert":
                held.db.execute(INSERT)
                held.rows += 1
            elif how == "script":
                self.run_script(held)
            elif how == "conflict":
                held.db.execute(CONFLICT)
            else:
                held.db.execute("BEGIN IMMEDIATE")
        except sqlite3.IntegrityError:
            held.snapshot = False
            raise
        held.snapshot = False

    def run_script(self, held: Held) -> None:
        """Write two rows: in the transaction of a block, or else each in one of its own."""
        held.db.executescript(f"{INSERT}; {INSERT}")
        held.rows += 2
        if not held.blocks:
            self.committed += held.rows

    def end(self, held: Held, commits: bool) -> None:
        with noting_the_end(held):
            if held.blocks:
                self.end_block(held, commits)
            elif commits:
                held.db.commit()
            else:
                held.db.rollback()
            if commits and not held.blocks:
                self.committed += held.rows
                held.rows = 0

    def end_block(self, held: Held, commits: bool) -> None:
        """End the innermost block."""
        try:
            if commits:
                held.db.__exit__(None, None, None)
            else:
                held.db.__exit__(KeyError, KeyError(), None)
        finally:
            if not held.db.revoked:
                before = held.blocks.pop()
                held.rows = held.rows if commits else before
                held.lost = held.lost and bool(held.blocks)

    def break_block(self, held: Held, how: str) -> None:
        """Try to end the transaction of a block inside it."""
        before = held.db.in_transaction, held.db.total_changes
        try:
            if how == "commit":
                held.db.commit()
            elif how == "rollback":
                held.db.rollback()
            elif how == "script":
                held.db.executescript(f"{INSERT}; COMMIT")
            else:
                held.db.execute(how)
        finally:
            assert (held.db.in_transaction, held.db.total_changes) == before

    def trespass(self, db: Connection, how: str) -> None:
        """Use what somebody else has, or nobody."""
        if how == "commit":
            db.commit()
        elif how == "rollback":
            db.rollback()
        elif how == "close":
            db.close()
        elif how == "block":
            db.__enter__()
        else:
            db.execute(INSERT)

    def nap(self, held: Held, sql: str) -> None:
        self.sql = sql
        with noting_the_end(held):
            try:
                held.db.execute(sql)
            finally:
                self.napping = False

    def begin_nap(self) -> None:
        """Note that its statement runs, and does not wait for the write lock any more."""
        if self.inside is not None and self.sql != NAPS:
            self.inside.snapshot = False
        self.napping = True

    def alter(self, held: Held) -> None:
        """Leave it in a state in which nobody else can have it."""
        held.db.execute("PRAGMA recursive_triggers = 1")


@contextmanager
def noting_the_end(held: Held) -> Iterator[None]:
    """Forget the rows that were not committed, once their transaction is over."""
    error: BaseException | None = None
    try:
        yield
    except BaseException as raised:
        error = raised
        raise
    finally:
        if not held.taken:  # or somebody else has it by now
            note_the_end(held, error)
        del error


def note_the_end(held: Held, error: BaseException | None) -> None:
    was_open, held.open = held.open, held.db.in_transaction
    if not held.open:
        held.rows, held.snapshot = 0, False
    if was_open and not held.open and held.blocks:
        assert held.db.revoked or type(error) in ROLLS_BACK
        held.lost = True


def nap(number: int) -> int:
    """The SQL function that makes a statement slow, and tells that it runs."""
    actor = threading.current_thread()
    assert isinstance(actor, Actor)
    actor.begin_nap()
    time.sleep(0.001)
    return number + 1


def is_patient(pool: Pool | None) -> bool:
    return pool is not None and pool.engine.config.busy_timeout == PATIENT


def pool_of(writer: write_lock.Writer) -> object:
    """The pool that a connection belongs to."""
    assert isinstance(writer, Connection)
    return writer.lender


def hit(actor: Actor) -> None:
    """Raise an exception where an actor waits."""
    assert actor.job is not None
    assert actor.ident is not None
    actor.job.ends.add(Hit)
    actor.job.urgent = True
    thread, error = ctypes.c_ulong(actor.ident), ctypes.py_object(Hit)
    assert ctypes.pythonapi.PyThreadState_SetAsyncExc(thread, error) == 1


def stop(actor: Actor) -> None:
    """Interrupt the statement of an actor, or its wait."""
    assert actor.job is not None
    if actor.napping:
        assert actor.inside is not None
        actor.job.ends |= {sqlite3.OperationalError, StatementInterrupted}
        actor.job.urgent = True
        sqlite3.Connection.interrupt(actor.inside.db)
    else:
        hit(actor)


def refusals(held: Held) -> Ends:
    """How every statement has to end, as it stands; empty if it need not fail."""
    if held.db.revoked:
        return {DatabaseClosed}
    return {TransactionLost} if held.lost else set()


class TogetherMachine(RuleBasedStateMachine):
    """Four threads, two databases on one file: one write queue, and a pool for each.

    In the one database everybody waits for ever, and gets what was waited for; in the other
    nobody waits for long. After each step every thread has come to rest: it has nothing to do,
    or waits for what another one has, or is in the middle of a statement without an end.
    """

    limit = 10.0
    """Seconds within which all come to rest, or something was lost."""

    @initialize(patient=st.sampled_from([1, 1, 2, 3]), impatient=st.integers(1, 2))
    def start(self, patient: int, impatient: int) -> None:
        self.stack = ExitStack()
        self.stack.enter_context(patch("sqlite_container.pool.housekeeper.LOOK", 0.02))
        folder = tempfile.TemporaryDirectory(ignore_cleanup_errors=True)
        self.folder = Path(self.stack.enter_context(folder))
        with plain(self.folder / "notes.db") as connection:
            connection.execute("CREATE TABLE note (title)")
            connection.execute("CREATE TABLE one AS SELECT 1 AS number")
            connection.execute("CREATE UNIQUE INDEX only_one ON one (number)")
        self.settings = [
            self.settings_for(patient, PATIENT),
            self.settings_for(impatient, IMPATIENT),
        ]
        self.databases = [Database("patient"), Database("impatient")]
        self.pools: list[Pool] = []  # those of closed databases as well
        self.dead: list[Held] = []
        self.committed_by_the_dead = 0
        self.owners: dict[Connection, object] = {}
        self.actors = [Actor(self.owners) for _ in range(4)]
        self.open(0)
        self.open(1)
        self.write_lock = self.pools[0].write_lock

    def settings_for(self, max_size: int, patience: float) -> dict[str, object]:
        return {
            "path": str(self.folder / "notes.db"),
            "busy_timeout": patience,
            "pool": {"max_size": max_size, "timeout": patience, "leak_threshold": None},
            "synchronous": "off",
            "functions": {"nap": nap},
        }

    # -- what can happen ----------------------------------------------------------------

    @rule(who=WHO, where=WHICH, read_only=st.booleans())
    def borrow(self, who: int, where: int, read_only: bool) -> None:
        actor = self.idle(who)
        if actor is not None and len(actor.held) < 2:
            self.ask(actor, where, read_only=read_only)
            self.settle()

    @rule(who=WHO, where=WHICH, times=st.integers(1, 3))
    def write_and_give_back(self, who: int, where: int, times: int) -> None:
        actor = self.idle(who)
        if actor is not None:
            self.ask_and_write(actor, where, times)
            self.settle()

    @rule(who=WHO, which=WHICH, how=st.sampled_from(STATEMENTS))
    def begin(self, who: int, which: int, how: str) -> None:
        if found := self.holder(who, which, borrows=True):
            actor, held = found
            ends = self.ends_of(actor, held, how)
            self.tell(actor, partial(actor.begin, held, how), held.pool, ends, inside=held)
            self.settle()

    def ends_of(self, actor: Actor, held: Held, how: str) -> Ends:
        """How ``begin`` may end."""
        if refused := refusals(held):
            return refused
        waits_for_nobody = held.db.read_only or held.db.in_transaction or how == "snapshot"
        if how in ("block", "snapshot") and waits_for_nobody:
            return {None}
        if how == "immediate" and held.db.in_transaction:
            return {TransactionError if held.blocks else sqlite3.OperationalError}
        if held.db.read_only:
            return {ReadOnlyConnection}
        ends = self.ends_of_a_write(actor, held.pool, held)
        return ends - {None} | {sqlite3.IntegrityError} if how == "conflict" else ends

    @rule(who=WHO, which=WHICH, commits=st.booleans())
    def end(self, who: int, which: int, commits: bool) -> None:
        if found := self.holder(who, which):
            actor, held = found
            ends = (refusals(held) if commits else set()) or {None}
            self.tell(actor, partial(actor.end, held, commits), held.pool, ends)
            self.settle()

    @rule(
        who=WHO,
        which=WHICH,
        outer=st.sampled_from(["block", "block", "snapshot"]),
        steps=st.lists(st.sampled_from(["end", "undo", "block", *STATEMENTS]), max_size=6),
    )
    def work_in_blocks(self, who: int, which: int, outer: str, steps: list[str]) -> None:
        """A borrower begins and ends blocks inside one another, and writes in them."""
        for step in [outer, *steps]:
            if step in STATEMENTS:
                self.begin(who, which, step)
            else:
                self.end(who, which, step == "end")

    @rule(
        who=WHO,
        which=WHICH,
        how=st.sampled_from(["commit", "rollback", "script", "COMMIT", "ROLLBACK", "BEGIN"]),
    )
    def break_block(self, who: int, which: int, how: str) -> None:
        """Somebody tries to end the transaction of a block inside it, and changes nothing."""
        if (found := self.holder(who, which)) and not found[1].blocks:
            self.begin(who, which, "block")
        if (found := self.holder(who, which)) and found[1].blocks and not found[1].db.revoked:
            actor, held = found
            ends: Ends = {TransactionError}
            if held.lost:
                ends = {TransactionError, TransactionLost}
            self.tell(actor, partial(actor.break_block, held, how), held.pool, ends)
            self.settle()

    @rule(who=WHO, which=WHICH)
    def give_back(self, who: int, which: int) -> None:
        if found := self.holder(who, which):
            actor, held = found
            self.tell(actor, partial(actor.give_back, held), held.pool, {None})
            self.settle()

    @rule(who=WHO, which=WHICH)
    def close_connection(self, who: int, which: int) -> None:
        """A borrower gives a connection back before its block ends."""
        if found := self.holder(who, which):
            actor, held = found
            self.tell(actor, partial(actor.close, held), held.pool, {None})
            self.settle()

    @rule(who=WHO)
    def leave(self, who: int) -> None:
        """The block of a connection that was closed ends, whoever has that connection now."""
        idle = [actor for actor in self.actors if actor.job is None and actor.closed]
        if idle:
            actor = idle[who % len(idle)]
            held = actor.closed[0]
            self.tell(actor, partial(actor.leave, held), held.pool, {None})
            self.settle()

    @rule(
        who=WHO,
        whose=WHO,
        which=WHICH,
        how=st.sampled_from(["insert", "block", "commit", "rollback", "close"]),
    )
    def trespass(self, who: int, whose: int, which: int, how: str) -> None:
        """Somebody uses a connection that is not, or no longer, his: it is refused."""
        owner = self.actors[whose]
        if owner.job is None and not owner.held:
            self.ask(owner, which, read_only=False)
            self.settle()
        actor, known = self.idle(who), owner.held + owner.closed
        if actor is None or not known:
            return
        db = known[which % len(known)].db
        if db not in [held.db for held in actor.held]:
            ends: Ends = {DatabaseClosed if db.revoked else NotYourConnection}
            if how == "close":
                ends = {None}
            elif how == "rollback" and db.revoked:
                ends.add(None)
            self.tell(actor, partial(actor.trespass, db, how), None, ends)
            self.settle()

    @rule(who=WHO)
    def take_back(self, who: int) -> None:
        """Somebody else gives a connection back while its borrower is inside."""
        inside = [actor for actor in self.actors if actor.inside in actor.held]
        if inside:
            actor = inside[who % len(inside)]
            held = actor.inside
            assert held is not None
            held.taken = True
            actor.disown(held)
            held.loan.__exit__(None, None, None)
            self.settle()

    @rule(who=WHO, which=WHICH)
    def alter(self, who: int, which: int) -> None:
        """A borrower leaves the connection in a state in which nobody else can have it."""
        if found := self.holder(who, which):
            actor, held = found
            ends = refusals(held) or {None}
            self.tell(actor, partial(actor.alter, held), held.pool, ends)
            self.settle()

    @rule(
        who=WHO,
        which=WHICH,
        sql=st.sampled_from([NAPS, f"INSERT INTO note {NAPS}"]),
        block=st.sampled_from(["", "block", "snapshot"]),
    )
    def nap(self, who: int, which: int, sql: str, block: str) -> None:
        """A statement without an end begins, in a block or without."""
        if block:
            self.begin(who, which, block)
        if found := self.holder(who, which, borrows=True):
            actor, held = found
            ends = refusals(held)
            if not ends and sql != NAPS:
                ends = self.ends_of(actor, held, "insert") - {None}
            self.tell(actor, partial(actor.nap, held, sql), held.pool, ends, inside=held)
            self.settle()

    @rule(who=WHO)
    def interrupt(self, who: int) -> None:
        """A statement without an end is interrupted, or a wait in one of the queues."""
        busy = [actor for actor in self.actors if actor.job is not None]
        if busy:
            stop(busy[who % len(busy)])
            self.settle()

    @rule(who=WHO, which=WHICH, writes=st.booleans(), where=st.none() | WHICH)
    def die(self, who: int, which: int, writes: bool, where: int | None) -> None:
        """A thread ends with what it has, and gives nothing back; a new one may write."""
        if writes:
            self.begin(who, which, "insert")
        if found := self.holder(who, which):
            actor, _ = found
            actor.orders.put(None)
            actor.join()
            self.dead += actor.held
            self.committed_by_the_dead += actor.committed
            heir = self.actors[self.actors.index(actor)] = Actor(self.owners)
            if where is not None:
                self.ask_and_write(heir, where, times=1)
            self.settle()

    @rule()
    def look_after(self) -> None:
        for each in self.pools:
            each.look_after()
        self.settle()

    @rule(
        where=WHICH, timeout=st.sampled_from([0, 0.02]), opens=st.sampled_from([True] * 5 + [False])
    )
    def close(self, where: int, timeout: float, opens: bool) -> None:
        for actor in self.actors:
            if actor.job is not None and actor.job.pool is self.databases[where]._pool:
                actor.job.ends |= {DatabaseClosed, StatementInterrupted}
                actor.job.urgent |= actor.napping
        self.databases[where].close(timeout)
        self.settle()
        if opens:
            self.open(where)

    @rule(where=WHICH)
    def open(self, where: int) -> None:
        database = self.databases[where]
        if database.closed:
            database.open(self.settings[where])
            assert database._pool is not None
            self.pools.append(database._pool)

    @rule(
        giver=WHO,
        asker=WHO,
        what=st.sampled_from(["connection", "place", "lock"]),
        when=st.sampled_from([HIT, HIT, HIT, 0, 0.005, 0.006]),
    )
    def give_back_as_a_wait_ends(self, giver: int, asker: int, what: str, when: float) -> None:
        """What somebody waits for comes free, whichever it is, at the moment of giving up."""
        first, second = self.idle(giver), self.idle(asker)
        if first is None or second is None or first is second:
            return
        where = 0 if when == HIT else 1
        held = self.one_of(first, 1 - where if what == "lock" else where)
        if held is None or not self.prepare(first, held, what):
            return
        if what == "lock":
            self.ask_and_write(second, where, times=1)
        else:
            self.ask(second, where, read_only=False)
        if when == HIT:
            self.settle()
            if second.job is not None:
                hit(second)
        else:
            time.sleep(when)
        self.tell(first, partial(first.give_back, held), held.pool, {None})
        self.settle()

    def one_of(self, actor: Actor, where: int) -> Held | None:
        """A connection of this database that an actor has or borrows, and can use now."""
        pool = self.databases[where]._pool
        if not [held for held in actor.held if held.pool is pool]:
            self.ask(actor, where, read_only=False)
            self.settle()
        found = [held for held in actor.held if held.pool is pool]
        return found[0] if found and actor.job is None else None

    def prepare(self, actor: Actor, held: Held, what: str) -> bool:
        """Let an actor do what gives a connection its place, or the lock, when it comes back."""
        if what == "place":
            ends = refusals(held) or {None}
            self.tell(actor, partial(actor.alter, held), held.pool, ends)
        if what == "lock":
            ends = self.ends_of(actor, held, "immediate")
            begin = partial(actor.begin, held, "immediate")
            self.tell(actor, begin, held.pool, ends, inside=held)
        self.settle()
        return actor.job is None

    @rule(
        wheres=st.tuples(WHICH, WHICH, WHICH, WHICH),
        times=st.integers(1, 3),
        closes=st.sampled_from([None, None, 0, 1]),
    )
    def all_write(self, wheres: tuple[int, ...], times: int, closes: int | None) -> None:
        """Everybody who can writes at the same time, and a database may close meanwhile."""
        at_once: Ends = {PoolTimeout, DatabaseBusy}
        for actor, where in zip(self.actors, wheres, strict=True):
            if actor.job is None:
                self.ask_and_write(actor, where, times)
        for job in [actor.job for actor in self.actors if actor.job is not None]:
            job.ends |= set() if job.patient else at_once
        if closes is None:
            self.settle()
        else:
            self.close(closes, 0, opens=True)

    # -- telling actors what to do, and how it may end ------------------------------------

    def idle(self, number: int) -> Actor | None:
        """An actor that has nothing to do."""
        idle = [actor for actor in self.actors if actor.job is None]
        return idle[number % len(idle)] if idle else None

    def holder(
        self, number: int, which: int, *, borrows: bool = False
    ) -> tuple[Actor, Held] | None:
        """An actor that has nothing to do but has a connection, or borrows one; and that one."""
        actor = self.idle(number)
        if actor is not None and borrows and not actor.held:
            self.ask(actor, which, read_only=False)
            self.settle()
        idle = [actor for actor in self.actors if actor.job is None and actor.held]
        if not idle:
            return None
        actor = actor if actor in idle else idle[number % len(idle)]
        return actor, actor.held[which % len(actor.held)]

    def tell(
        self,
        actor: Actor,
        call: Callable[[], None],
        pool: Pool | None,
        ends: Ends,
        inside: Held | None = None,
    ) -> None:
        assert actor.job is None
        actor.job, actor.inside = Job(call, pool, ends), inside
        actor.orders.put(actor.job)

    def ask(self, actor: Actor, where: int, *, read_only: bool) -> None:
        database, pool = self.databases[where], self.databases[where]._pool
        ends = {None} | self.no_connection(pool)
        if pool is not None:
            self.tell(actor, partial(actor.borrow, database, pool, read_only), pool, ends)

    def ask_and_write(self, actor: Actor, where: int, times: int) -> None:
        database, pool = self.databases[where], self.databases[where]._pool
        ends = self.no_connection(pool)
        joined = [each for each in actor.held if each.pool is pool and each.blocks and each.writing]
        if joined:
            write = partial(actor.write_and_join, database, joined[0], times)
            self.tell(actor, write, pool, {None}, inside=joined[0])
            return
        if pool is not None:
            ends |= self.ends_of_a_write(actor, pool)
        self.tell(actor, partial(actor.write_and_give_back, database, times), pool, ends)

    def no_connection(self, pool: Pool | None) -> Ends:
        """How asking for a connection may end: not in vain where the dead have one."""
        if pool is None:
            return {DatabaseClosed}
        living = set(pool._ledger.out) - {held.db for held in self.dead}
        full = len(living) == pool._ledger.max_size
        return {PoolTimeout} if full and not is_patient(pool) else set()

    def ends_of_a_write(self, actor: Actor, pool: Pool, held: Held | None = None) -> Ends:
        """How a write may end: in vain if it cannot wait, or would wait for itself."""
        if any(each.writing for each in actor.held if each is not held):
            return {WriteDeadlock}
        busy = self.write_lock.holder is not None and not is_patient(pool)
        return {None, DatabaseBusy} if busy else {None}

    # -- waiting until all have come to rest ----------------------------------------------

    def settle(self) -> None:
        deadline = time.monotonic() + self.limit
        while not self.at_rest():
            if time.monotonic() > deadline:
                type(self).limit = 0.5  # what follows only makes the example smaller
                raise AssertionError(f"somebody waits in vain: {self.picture()}")
            time.sleep(0.0003)

    def at_rest(self) -> bool:
        """Whether nothing will happen any more unless somebody is told to do something."""
        for actor in self.actors:
            self.collect(actor)
        with ExitStack() as locks:
            for each in self.pools:
                locks.enter_context(each._lock)
            locks.enter_context(write_lock._mutex.lock)
            queue = {self.user_of(each.writer): each.writer for each in self.write_lock._queue}
            busy = [actor for actor in self.actors if actor.job is not None]
            asking = Counter(
                actor.job.pool
                for actor in busy
                if actor.job and not actor.napping and actor not in queue
            )
            return (
                all(self.may_stay(actor, queue) for actor in busy)
                and all(self.is_full(each) for each in asking)
                and all(asking[each] == len(each._ledger.waiters) for each in self.pools)
                and not any(each._ledger.strays() for each in self.pools)  # they are being closed
            )

    def user_of(self, writer: write_lock.Writer) -> threading.Thread:
        """The actor that waits with a connection, which may have been given back for it."""
        assert isinstance(writer, Connection)
        for actor in self.actors:
            if actor.inside is not None and actor.inside.db is writer:
                return actor
        assert writer.borrower is not None
        return writer.borrower.thread

    def collect(self, actor: Actor) -> None:
        """See how a job ended, if it did."""
        job = actor.job
        if job is not None and job.done.is_set():
            actor.job = actor.inside = None
            assert job.error in job.ends, job.story or f"it was to end with one of {job.ends}"

    def may_stay(self, actor: Actor, queue: dict[threading.Thread, write_lock.Writer]) -> bool:
        """Whether an actor that is not done has a reason, and need not end by itself."""
        job, writer = actor.job, queue.get(actor)
        if job is None or job.urgent:
            return False
        if writer is None or actor.napping:
            return job.patient or actor.napping
        holder = self.write_lock.holder
        owners = [each for each in self.actors for held in self.of(each) if held.db is holder]
        return job.patient and not writer.gave_up() and owners not in ([], [actor])

    def of(self, actor: Actor) -> list[Held]:
        """What an actor has, or uses although somebody else gave it back."""
        taken = [actor.inside] if actor.inside is not None and actor.inside.taken else []
        return actor.held + taken

    def is_full(self, pool: Pool | None) -> bool:
        """Whether those who wait for a connection have a reason: living borrowers have all."""
        if pool is None:
            return False
        ledger = pool._ledger
        dead = {held.db for held in self.dead}
        return len(ledger.out) == ledger.max_size and not dead & set(ledger.out)

    def picture(self) -> str:
        """What everybody does, for the message when somebody waits in vain."""
        stacks = sys._current_frames()
        lines = [f"{self.write_lock}"]
        lines += [f"{each.engine.place}: {each._ledger}" for each in self.pools]
        for actor in self.actors:
            held = [each.db for each in actor.held]
            lines += [f"{actor.name}: {'busy' if actor.job else 'idle'}, has {held}"]
            if actor.job is not None and actor.ident in stacks:
                lines += traceback.format_stack(stacks[actor.ident])
        return "\n".join(lines)

    # -- what is always true --------------------------------------------------------------

    @property
    def living(self) -> list[Held]:
        """What those who live have."""
        return [held for actor in self.actors for held in self.of(actor)]

    @invariant()
    def one_owner(self) -> None:
        """A connection is out to one borrower, and to nobody else."""
        lent = [held.db for held in self.living]
        assert len(set(lent)) == len(lent)
        for held in self.living:
            borrower = held.pool._ledger.out[held.db]
            assert held.db.borrower is (None if held.taken else borrower)
            assert held.db not in [each for each, _ in held.pool._ledger.idle]

    @invariant()
    def no_lost_transaction(self) -> None:
        """A transaction ends by what its borrower does, and by nothing else."""
        for actor in self.actors:
            for held in actor.held:
                assert held is actor.inside or held.db.in_transaction == held.open

    @invariant()
    def no_lost_write_lock(self) -> None:
        """Who has the write lock is in a transaction that writes, and the other way round."""
        writing = [held.db for held in self.living + self.dead if held.writing]
        holder = self.write_lock.holder
        assert writing == ([] if holder is None else [holder]), self.picture()
        assert holder is not None or not self.write_lock.waiting

    @invariant()
    def no_lost_connection(self) -> None:
        """Each connection that is open is idle, or out to somebody who is known."""
        known = {held.db for held in self.living} | {each.writer for each in self.write_lock._queue}
        dead = {held.db for held in self.dead}
        for each in self.pools:
            ledger = each._ledger
            assert ledger.size == len(ledger.idle) + len(ledger.out) <= ledger.max_size
            assert each.write_lock is self.write_lock
            assert set(ledger.out) - dead == {db for db in known if pool_of(db) is each}
            assert not (each.closing and ledger.idle)
            assert not (ledger.idle and ledger.waiters)

    # -- the end --------------------------------------------------------------------------

    def teardown(self) -> None:
        if not hasattr(self, "write_lock"):
            return
        with self.stack:
            try:
                if sys.exc_info()[0] is None:
                    self.end_it()
            finally:
                self.end_threads()
                for database in self.databases:
                    database.close(0)

    def end_threads(self) -> None:
        for actor in self.actors:
            if actor.job is not None and not actor.job.done.is_set():
                stop(actor)
            actor.orders.put(None)
            actor.join(self.limit)
        for each in self.pools:
            each.look_after()

    def end_it(self) -> None:
        """Whatever has happened: all comes back, and what was committed is stored."""
        while busy := [actor for actor in self.actors if actor.job is not None]:
            stop(busy[0])
            self.settle()
        for actor in self.actors:
            for held in list(actor.held):
                self.tell(actor, partial(actor.give_back, held), held.pool, {None})
                self.settle()
        self.look_after()
        assert self.write_lock.holder is None
        for where, database in enumerate(self.databases):
            self.open(where)
            self.all_can_be_taken(database)
        committed = sum(actor.committed for actor in self.actors) + self.committed_by_the_dead
        assert count(self.databases[0]) == committed
        for database in self.databases:
            database.close()
        assert [each.size for each in self.pools] == [0] * len(self.pools)
        left = files(self.folder)
        assert left == {"notes.db"}

    def all_can_be_taken(self, database: Database) -> None:
        pool = database._pool
        assert pool is not None
        assert not pool._ledger.out
        with ExitStack() as stack:
            taken = [
                stack.enter_context(database.connection()) for _ in range(pool._config.max_size)
            ]
            assert len(set(taken)) == pool.size == pool._config.max_size
            with taken[0]:
                assert self.write_lock.holder is taken[0]


TestTogether = pytest.mark.filterwarnings(
    "ignore::sqlite_container.LeakWarning", "ignore::sqlite_container.UncommittedWarning"
)(TogetherMachine.TestCase)
TestTogether.settings = settings(
    max_examples=70,
    stateful_step_count=50,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.too_slow],
)
