"""A connection that has one owner at a time: its cursors, transactions and session state.

Imports `writing` and what stands above it.
"""
