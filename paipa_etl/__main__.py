"""``python -m paipa_etl`` is the command ``paipa-etl``."""

import os
import sys

if __name__ == "__main__" and sys.path[0] in ("", os.getcwd()):
    # ``-m`` looks in the current directory first: a file there must not shadow a module.
    sys.path.append(sys.path.pop(0))

from paipa_etl.cli.main import entry

if __name__ == "__main__":
    entry()
