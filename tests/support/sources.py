"""The sources of the package as syntax trees."""

import ast
from pathlib import Path

import pytest

import fastrnn

PACKAGE = Path(fastrnn.__file__).parent
FILES = sorted(PACKAGE.glob("**/*.py"))
NAMES = {path: ".".join(path.relative_to(PACKAGE).with_suffix("").parts) for path in FILES}
TREES = {NAMES[path]: ast.parse(path.read_text()) for path in FILES}
every_module = pytest.mark.parametrize("module", TREES)
