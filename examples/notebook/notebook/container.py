"""Which databases there are, and what is made from them."""

from dependency_injector import containers, providers

from sqlite_container import SQLite, SQLiteDict

from .audit import AuditTrail
from .notes import Notes


class Container(containers.DeclarativeContainer):
    wiring_config = containers.WiringConfiguration(packages=[".views"], modules=[".sample"])
    config = providers.Configuration(strict=True)

    notes = SQLite(config.databases.notes)
    audit = SQLite(config.databases.audit)
    reference = SQLite(config.databases.reference)
    tenants = SQLiteDict(config.tenants)

    # A repository works on the connection of the request it is made for …
    note_reader = providers.Factory(Notes, notes.reader)
    note_writer = providers.Factory(Notes, notes.connection)
    # … a service is given the database, and takes a connection whenever it needs one.
    trail = providers.Factory(AuditTrail, audit.database)
