"""Benchmarks: each measures in one run and prints one table. Never part of the tests."""
