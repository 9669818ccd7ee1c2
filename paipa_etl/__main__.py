"""``python -m paipa_etl`` is the command ``paipa-etl``."""

from paipa_etl.cli.main import entry

if __name__ == "__main__":
    entry()
