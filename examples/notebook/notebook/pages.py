"""What the templates know beside what their views give them."""

import re
from datetime import datetime

from flask import Flask
from markupsafe import Markup, escape

from .notes import END, FOUND


def init_app(app: Flask) -> None:
    app.add_template_filter(highlight)
    app.add_template_filter(when)


def highlight(text: str) -> Markup:
    """What a search marked as found, as <mark>; all else escaped."""
    safe = str(escape(text))
    marked = re.sub(f"{FOUND}(.*?){END}", r"<mark>\1</mark>", safe, flags=re.DOTALL)
    return Markup(marked)  # noqa: S704 - it was escaped before


def when(stamp: str) -> Markup:
    """A time as the databases keep it, for people: 5 March 2025, 14:05."""
    time = datetime.fromisoformat(stamp)
    return Markup('<time datetime="{}" title="{:%H:%M} UTC">{} {:%B %Y}, {:%H:%M}</time>').format(
        stamp, time, time.day, time, time
    )
