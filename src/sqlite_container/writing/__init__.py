"""Who may write: the write lock of each file, its fair queue, and BEGIN IMMEDIATE.

May import `sqlite` and the wings below it.
"""
