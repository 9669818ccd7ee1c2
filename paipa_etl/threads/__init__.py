"""Threads: waiting, stopping, starting, joining, interrupts, forks, the interpreter's exit.

Nothing in this folder knows what a record is. Each thread belongs to a run, and ends with the run
or with the interpreter.
"""
