"""How the documentation is built."""

import sys
import tomllib
from pathlib import Path
from typing import Any

from sphinx.application import Sphinx
from sphinx.util.nodes import make_refnode

root = Path(__file__).parent.parent
sys.path.insert(0, str(root / "src"))
with (root / "pyproject.toml").open("rb") as file:
    release = tomllib.load(file)["project"]["version"]

project = "sqlite-container"
author = "The sqlite_container authors"
project_copyright = author
version = release

extensions = ["myst_parser", "sphinx.ext.autodoc"]
exclude_patterns = ["_build"]
nitpicky = True
nitpick_ignore_regex = [
    (r"py:class", r"Settings"),  # what a database takes; its docstring says it
    # What docstrings and signatures mention of others; there is no inventory to look them up in.
    (
        "py:.*",
        r"(os|sqlite3|dependency_injector|providers|containers|flask|collections|pathlib)\b.*",
    ),
    ("py:.*", r"(Exception|ExceptionGroup|object|type|str|int|float|bool|dict|list|tuple|None)"),
    ("py:.*", r".*\b(RuntimeError|ResourceWarning|Path|Row)"),
    # What has no name outside: nobody makes one of these.
    ("py:.*", r"sqlite_container\.(database\.loan\.Loan|engine\.engine\.Folders|signals)"),
    ("py:.*", r"sqlite_container\.connection\.connection\._Transaction"),
]

myst_enable_extensions = ["colon_fence", "deflist", "fieldlist"]
myst_heading_anchors = 3
myst_links_external_new_tab = False

autodoc_typehints = "signature"
autodoc_member_order = "bysource"
autodoc_class_signature = "mixed"
python_use_unqualified_type_names = True
python_maximum_signature_line_length = 80

html_theme = "furo"
html_title = f"sqlite-container {release}"
html_static_path = ["_static"] if (Path(__file__).parent / "_static").is_dir() else []
html_copy_source = False
html_show_sphinx = False
html_theme_options = {"navigation_with_keys": True}


def resolve_exported(app: Sphinx, env: Any, node: Any, text: Any) -> Any:
    """Private modules refer to each other by names that the package exports."""
    python = env.get_domain("py")
    name = "sqlite_container." + node.get("reftarget", "").rpartition(".")[2]
    found = python.objects.get(name) if node.get("refdomain") == "py" else None
    if found is None:
        return None
    return make_refnode(app.builder, node["refdoc"], found.docname, found.node_id, text, name)


def setup(app: Sphinx) -> None:
    app.connect("missing-reference", resolve_exported)
