"""The app that gunicorn serves: one peer on one file, both named by the environment."""

from __future__ import annotations

import os
import resource

from flask import Flask

from peers import web

DESCRIPTORS = 1024
"""The usual limit of a service; who opens more than it closes finds out."""


def create_app() -> Flask:
    """The app of the peer."""
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    soft = DESCRIPTORS if limit == resource.RLIM_INFINITY else min(DESCRIPTORS, limit)
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, limit))
    return web.create(os.environ["BENCH_PEER"], os.environ["BENCH_FILE"]).app
