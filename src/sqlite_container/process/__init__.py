"""The ends of a process: exit, signals of the operating system, fork.

Imports `container` and what stands above it.
"""
