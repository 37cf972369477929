"""The ends of a process: its exit, signals of the operating system, forks.

May import `container` and the wings below it.
"""
