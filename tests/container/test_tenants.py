"""Databases by the thousand: names that only the app knows, and few of them open at a time."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any, cast

import pytest
from dependency_injector import containers, providers
from dependency_injector.wiring import Provide, inject
from flask import Flask

from common.databases import add, count, in_thread, wait_until
from common.shop import SCHEMA
from sqlite_container import (
    ConfigurationError,
    Connection,
    Database,
    PoolTimeout,
    SQLite,
    SQLiteDict,
    UnknownDatabase,
    shutdown,
)
from sqlite_container.flask import init_app
from sqlite_container.testing import temporary_databases

SHOPS = {"acme", "globex", "initech", "umbrella", "wonka"}
POOL = {"timeout": 0.2}


def is_shop(name: str) -> bool:
    """Whether there is a shop of that name."""
    return name in SHOPS


class Mall(containers.DeclarativeContainer):
    """As many shops as the app knows, two of them open at a time."""

    config = providers.Configuration(strict=True)
    shops = SQLiteDict(config.shop, names=is_shop, max_open=2)


def settings(folder: Path, **more: object) -> dict[str, object]:
    """The settings of every shop."""
    schema = folder / "schema.sql"
    schema.write_text(SCHEMA)
    return {"path": str(folder / "shop-{name}.db"), "schema": str(schema), "pool": POOL, **more}


@pytest.fixture
def mall(tmp_path: Path) -> Iterator[Any]:
    """A mall that is configured."""
    mall = Mall()
    mall.config.from_dict({"shop": settings(tmp_path)})
    yield mall
    shutdown(mall)


def open_shops(mall: Any) -> set[str]:
    """Which of them are open."""
    return {name for name in mall.shops.names() if not mall.shops[name].database.current.closed}


# -- names that only the app knows ------------------------------------------------------------


def test_a_name_needs_no_place_in_the_configuration(mall: Any, tmp_path: Path) -> None:
    """Each has a file of its own, with the settings of all."""
    for name in ("acme", "globex"):
        add(mall.shops[name].database(), name)
        assert (tmp_path / f"shop-{name}.db").exists()
        assert count(mall.shops[name].database()) == 1
    assert mall.shops["acme"] is mall.shops.acme
    assert sorted(mall.shops.names()) == ["acme", "globex"]


@pytest.mark.parametrize("name", ["acne", "", "../acme", "acme/", "a\0", "x" * 10_000, "{name}"])
def test_a_name_that_there_is_not_is_unknown(mall: Any, tmp_path: Path, name: str) -> None:
    """No file is made, and the error names no other shop: it may be shown to a client."""
    mall.shops["acme"].database()
    with pytest.raises(UnknownDatabase) as caught:
        mall.shops[name]
    assert "acme" not in str(caught.value).replace(repr(name), "")
    assert name not in mall.shops
    assert {file.name for file in tmp_path.glob("*.db")} == {"shop-acme.db"}


def test_a_name_that_cannot_be_one_is_not_asked_about(tmp_path: Path) -> None:
    """What leads out of the folder never reaches the app's own code."""
    asked: list[str] = []

    def note(name: str) -> bool:
        asked.append(name)
        return True

    shops = SQLiteDict(settings(tmp_path), names=note)
    for name in ("../acme", "", ".hidden", "a/b"):
        assert name not in shops
    assert "acme" in shops
    assert asked == ["acme"]


def test_a_shop_that_closes_down_is_not_found_any_more(tmp_path: Path) -> None:
    """The app is asked each time, also about a database that is open."""
    names = {"acme"}
    shops = SQLiteDict(settings(tmp_path), names=names.__contains__)
    shops["acme"].database()
    names.clear()
    with pytest.raises(UnknownDatabase):
        shops["acme"]
    shops._member("acme").database.close()


def test_names_may_come_from_a_provider(tmp_path: Path) -> None:
    """Such as a method of a service, which itself asks another database."""

    class Register:
        def __init__(self, database: Any) -> None:
            self.database = database

        def has(self, name: str) -> bool:
            with self.database.reader() as db:
                return bool(db.execute("SELECT 1 FROM note WHERE title = ?", (name,)).fetchone())

    class Town(containers.DeclarativeContainer):
        config = providers.Configuration(strict=True)
        register_db = SQLite(config.register)
        register = providers.Singleton(Register, register_db.database)
        shops = SQLiteDict(config.shop, names=register.provided.has)

    town = Town()
    each = settings(tmp_path)
    town.config.from_dict({"shop": each, "register": {**each, "path": str(tmp_path / "r.db")}})
    add(town.register_db.database(), "acme")
    assert "acme" in town.shops
    assert "globex" not in town.shops
    assert count(town.shops["acme"].database()) == 0
    shutdown(cast(Any, town))


def test_a_view_looks_its_shop_up(tmp_path: Path) -> None:
    """An unknown one is a 404, a known one has a connection for each request."""

    class Street(containers.DeclarativeContainer):
        config = providers.Configuration(strict=True)
        shops = SQLiteDict(config.shop, names=is_shop, max_open=1)

    app, street = Flask("street", instance_path=str(tmp_path)), Street()

    @app.errorhandler(UnknownDatabase)
    def not_found(error: Exception) -> tuple[str, int]:
        return str(error), 404

    @app.get("/<name>")
    @inject
    def shop(name: str, shops: SQLiteDict = Provide[Street.shops.provider]) -> str:
        return str(shops[name].reader().execute("SELECT count(*) FROM note").fetchone()[0])

    @app.get("/")
    @inject
    def first(db: Connection = Provide[Street.shops.acme.connection]) -> str:
        return str(db.execute("SELECT count(*) FROM note").fetchone()[0])

    street.config.from_dict({"shop": {**settings(tmp_path), "path": "{name}.db"}})
    street.wire(modules=[__name__])
    init_app(app, cast(Any, street))
    client = app.test_client()
    for path in ("/acme", "/globex", "/", "/wonka", "/acme"):
        assert client.get(path).text == "0"
    missing = client.get("/acne")
    assert missing.status_code == 404
    assert "acme" not in missing.text
    assert (tmp_path / "wonka.db").exists()
    shutdown(street)


@pytest.mark.parametrize(
    ("shop", "problem"),
    [
        ({"path": "shop.db"}, r"^shop.path: 'shop.db' would be the file of every database"),
        ("shop.db", r"^shop.path: 'shop.db' would be the file of every database"),
        ({"path": "{name}.db", "shema": "x"}, "^shop.shema: unknown setting"),
        ({"path": "{nam}.db"}, r"^shop.path: \{nam\} stands for nothing"),
        ({"path": "{name}.db", "schema": "missing.sql"}, "^shop.schema: there is no file"),
        (None, "^shop: nothing is set here|^shop: expected"),
    ],
)
def test_the_settings_of_all_are_checked_before_any_name_is_known(
    tmp_path: Path, shop: object, problem: str
) -> None:
    """As those of one database are, by init_app."""
    mall = Mall()
    mall.config.from_dict({"shop": shop})
    with pytest.raises(ConfigurationError, match=problem):
        init_app(Flask("mall", instance_path=str(tmp_path)), mall)


@pytest.mark.parametrize("names", [["acme"], "acme", 1])
def test_names_that_cannot_be_asked_are_refused(names: Any) -> None:
    """A list is not called."""
    with pytest.raises(ConfigurationError, match=r"names=….*expected a callable"):
        SQLiteDict("{name}.db", names=names)


@pytest.mark.parametrize("max_open", [0, -1, True, 1.5, "2"])
def test_a_limit_that_is_none_is_refused(max_open: Any) -> None:
    """At least one has to be open."""
    with pytest.raises(ConfigurationError, match=r"max_open=….*whole number greater than 0"):
        SQLiteDict("{name}.db", max_open=max_open)


def test_temporary_databases_take_the_place_of_each(mall: Any, tmp_path: Path) -> None:
    """Also of one that is asked for in the test for the first time."""
    add(mall.shops["acme"].database())
    with temporary_databases(mall):
        for name in ("acme", "globex", "wonka"):
            assert count(mall.shops[name].database()) == 0
            add(mall.shops[name].database())
    assert count(mall.shops["acme"].database()) == 1
    assert {file.name for file in tmp_path.glob("*.db")} == {"shop-acme.db"}


def test_an_override_reaches_names_that_come_later(mall: Any, tmp_path: Path) -> None:
    """What overrides decides which names there are; afterwards all is as before."""
    others = SQLiteDict(str(tmp_path / "other-{name}.db"), names={"acme", "hooli"}.__contains__)
    add(mall.shops["acme"].database())
    with mall.shops.override(others):
        assert "hooli" in mall.shops
        assert "globex" not in mall.shops
        path = mall.shops["hooli"].database().engine.file
        assert path == tmp_path / "other-hooli.db"
        assert mall.shops["acme"].database().engine.file == tmp_path / "other-acme.db"
    assert "hooli" not in mall.shops
    assert count(mall.shops["acme"].database()) == 1


# -- few of them open --------------------------------------------------------------------------


def test_the_one_that_nobody_has_used_for_longest_is_closed(mall: Any, tmp_path: Path) -> None:
    """And opened again when it is asked for, by a provider or by who kept the database."""
    kept = mall.shops["acme"].database()
    add(kept)
    add(mall.shops["globex"].database())
    assert count(kept) == 1
    add(mall.shops["initech"].database())
    assert open_shops(mall) == {"acme", "initech"}
    assert not (tmp_path / "shop-globex.db-wal").exists()
    mall.shops["globex"].database()
    assert open_shops(mall) == {"globex", "initech"}
    assert count(kept) == 1
    assert open_shops(mall) == {"acme", "globex"}
    assert mall.shops["acme"].database() is kept


def test_one_that_is_in_use_is_not_closed(mall: Any) -> None:
    """However long ago it was lent; and if all are in use, the next one waits, then is told."""
    acme, globex = mall.shops["acme"].database(), mall.shops["globex"].database()
    with acme.transaction() as db:
        db.execute("INSERT INTO note (title) VALUES ('kept')")
        add(globex)
        add(mall.shops["initech"].database())
        assert open_shops(mall) == {"acme", "initech"}
        with mall.shops["initech"].database().reader():
            began = time.monotonic()
            with pytest.raises(PoolTimeout, match=r"no more than 2 such databases.*max_open"):
                mall.shops["wonka"].database()
            assert time.monotonic() - began >= POOL["timeout"]
        add(mall.shops["wonka"].database())
    assert count(acme) == 1


def test_who_waits_for_room_gets_it_when_there_is_some(tmp_path: Path) -> None:
    """First come, first served."""
    mall = Mall()
    mall.config.from_dict({"shop": settings(tmp_path, pool={"timeout": 20})})
    with ExitStack() as held:
        held.enter_context(mall.shops["acme"].database().reader())
        held.enter_context(mall.shops["globex"].database().reader())
        waiting = in_thread(lambda: count(mall.shops["wonka"].database()))
        wait_until(lambda: "wonka" in mall.shops.names())
        assert not waiting.done()
    assert waiting.result(20) == 0
    shutdown(mall)


def test_a_database_that_was_closed_by_hand_gives_its_room_to_another(mall: Any) -> None:
    """And so does one that could not be opened."""
    acme = mall.shops["acme"].database()
    acme.close()
    for name in ("globex", "initech"):
        mall.shops[name].database()
    assert open_shops(mall) == {"globex", "initech"}


def test_many_threads_with_many_names_lose_nothing(tmp_path: Path) -> None:
    """Databases are closed and opened under them all the time."""
    mall = Mall()
    mall.config.from_dict({"shop": settings(tmp_path, pool={"timeout": 60, "max_size": 2})})
    names = sorted(SHOPS)

    def work(number: int) -> None:
        for step in range(40):
            add(mall.shops[names[(number + step) % len(names)]].database())
            assert len(open_shops(mall)) <= 2

    with ThreadPoolExecutor(4) as threads:
        list(threads.map(work, range(4)))
    assert sum(count(mall.shops[name].database()) for name in names) == 4 * 40
    shutdown(mall)


def test_a_forked_child_has_the_same_limit(mall: Any) -> None:
    """There nothing is open at first."""
    for name in ("acme", "globex"):
        add(mall.shops[name].database())
    child = os.fork()
    if not child:
        status = 1
        try:
            for name in ("initech", "wonka", "acme"):
                add(mall.shops[name].database())
            status = 0 if open_shops(mall) == {"wonka", "acme"} else 2
            shutdown(mall)
        finally:
            os._exit(status)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert count(mall.shops["acme"].database()) == 2


def test_two_containers_have_a_limit_each(tmp_path: Path) -> None:
    """It belongs to the container, not to its class."""
    malls = [Mall(), Mall()]
    for number, mall in enumerate(malls):
        (tmp_path / str(number)).mkdir()
        mall.config.from_dict({"shop": settings(tmp_path / str(number))})
        for name in ("acme", "globex"):
            mall.shops[name].database()
    assert [open_shops(mall) for mall in malls] == [{"acme", "globex"}] * 2
    for mall in malls:
        shutdown(mall)


def connections(database: Database) -> int:
    """How many it has open; to ask stats() would look after the idle ones."""
    assert database._pool is not None
    return len(database._pool.known)


def test_idle_databases_are_closed_by_whoever_passes_by(tmp_path: Path) -> None:
    """Nobody has to use that very database: its connections take three descriptors each."""
    shops = SQLiteDict(settings(tmp_path, pool={"max_idle": 0.05}), names=is_shop)
    databases = [shops[name].database() for name in sorted(SHOPS)]
    for database in databases:
        add(database)
    busy = databases[0]
    assert [connections(each) for each in databases] == [1] * 5
    wait_until(lambda: count(busy) and not any(map(connections, databases[1:])))
    assert not list(tmp_path.glob("shop-[gw]*-wal"))
    assert [count(each) for each in databases] == [1] * 5
    for database in databases:
        database.close()


def test_a_file_that_is_restored_while_nothing_is_open_is_the_right_one(tmp_path: Path) -> None:
    """A backup may take the place of a database that is idle."""
    shops = SQLiteDict(settings(tmp_path, pool={"max_idle": 0.05}), names=is_shop)
    acme, wonka = shops["acme"].database(), shops["wonka"].database()
    add(acme)
    add(wonka)
    wait_until(lambda: count(wonka) and not connections(acme))
    (tmp_path / "shop-acme.db").rename(tmp_path / "old.db")
    acme_again = SQLiteDict(settings(tmp_path), names=is_shop)["acme"].database()
    add(acme_again, "restored")
    add(acme_again, "restored")
    acme_again.close()
    assert count(acme) == 2
    acme.close()
    wonka.close()


# -- what many of them cost, and what their errors say ---------------------------------


def calls(function: Callable[[], object]) -> int:
    """How many functions are called by it."""
    number = 0

    def note(frame: Any, event: str, _: Any) -> None:
        nonlocal number
        number += event == "call"

    sys.setprofile(note)
    try:
        function()
    finally:
        sys.setprofile(None)
    return number


class Landlord(containers.DeclarativeContainer):
    """Tenants that the configuration names."""

    config = providers.Configuration(strict=True)
    tenants = SQLiteDict(config.tenants)


def landlord(number: int, **each: object) -> Landlord:
    """One with so many tenants."""
    made = Landlord()
    tenants = {f"t{tenant}": {"path": "{name}.db", **each} for tenant in range(number)}
    made.config.from_dict({"tenants": tenants})
    return made


def test_the_work_of_init_app_grows_with_the_tenants_and_no_faster(tmp_path: Path) -> None:
    """Ten times as many are ten times the work."""

    def work(number: int) -> int:
        container: Any = landlord(number)
        app = Flask("app", instance_path=str(tmp_path))
        return calls(lambda: init_app(app, container))

    work(1)  # what is done once
    few, many = work(30), work(300)
    assert many < 11 * few


def test_the_work_of_opening_one_does_not_grow_with_those_that_are_open(tmp_path: Path) -> None:
    """The last of many costs what the first did."""
    container: Any = landlord(40)
    container.config.from_dict({"tenants": {"t0": {"path": "x.db"}}})
    os.chdir(tmp_path)
    work = [calls(container.tenants[f"t{each}"].database) for each in range(40)]
    assert work[-1] < 1.2 * work[1]
    shutdown(container)


def test_an_error_does_not_list_thousands(tmp_path: Path) -> None:
    """The first of them say enough; error.mistakes has all."""
    container: Any = landlord(1000, busy_timeout="soon")
    with pytest.raises(ConfigurationError) as caught:
        init_app(Flask("app", instance_path=str(tmp_path)), container)
    assert len(str(caught.value)) < 5000
    assert "more" in str(caught.value).splitlines()[-1]
    assert len(caught.value.mistakes) == 1000
    with pytest.raises(UnknownDatabase) as unknown:
        landlord(1000).tenants["t1000"]
    assert str(unknown.value) == "tenants: there is no database 't1000'"
