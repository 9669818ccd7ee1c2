"""Runners: each carries out the same plan (source, steps, sink)."""
