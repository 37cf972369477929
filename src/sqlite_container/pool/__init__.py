"""Who holds which connection, and who is next.

Lending, waiting, giving back, housekeeping, reports and the graceful end. Imports `engine` and
what stands above it.
"""
