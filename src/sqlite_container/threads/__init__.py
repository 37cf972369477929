"""How one thread wakes another, and whether a thread is still alive.

Imports no other wing.
"""
