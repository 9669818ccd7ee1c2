"""The command line: argv to a Pipeline, run it, report, exit code. No data handling here."""
