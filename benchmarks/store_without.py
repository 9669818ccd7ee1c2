"""Our command where a package is not installed: `store_without.py PACKAGE ARGUMENTS ...`."""

import sys

sys.modules[sys.argv.pop(1)] = None  # type: ignore[assignment]  # what an import of it meets

from paipa_etl.cli.main import entry  # noqa: E402

entry()
