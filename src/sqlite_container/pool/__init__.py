"""Who holds which connection, and who is next.

Lending, waiting, giving back, housekeeping, reports and the graceful shutdown. The state is in
`ledger`, and what is done with it in `pool`. May import `engine` and the wings below it.
"""
