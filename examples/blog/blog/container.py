"""The database of the blog."""

from dependency_injector import containers, providers

from sqlite_container import SQLite


class Container(containers.DeclarativeContainer):
    wiring_config = containers.WiringConfiguration(modules=[".auth", ".posts"])
    config = providers.Configuration(strict=True)
    blog = SQLite(config.database)
