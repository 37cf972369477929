"""Who may write: the write lock of each file, its fair queue, and BEGIN IMMEDIATE.

Imports `sqlite` and what stands above it.
"""
