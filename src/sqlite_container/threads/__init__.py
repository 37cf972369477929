"""How threads wait for each other, and whether they are still alive. Imports nothing."""
