"""Databases in a Flask application: one connection for each request, closed at every end.

The only wing that imports Flask, Werkzeug and Click. May import `process` and the wings below it.
"""

from .extension import init_app

__all__ = ["init_app"]
