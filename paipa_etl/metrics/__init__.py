"""Whose time it is: accounts, which runners, sources and sinks fill. Nothing is shown here."""
