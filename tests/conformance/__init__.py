"""Conformance kits: whatever is registered as format, codec, store, sink or runner obeys them.

Each kit runs over a table of the package, in which the example of tests/thirdparty stands
beside what is built in, and takes its samples from a table of its own. What is registered
without samples fails.
"""
