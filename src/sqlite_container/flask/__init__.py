"""Databases in a Flask application: one connection for each request, closed at every end."""

from .extension import init_app

__all__ = ["init_app"]
