"""What measures and reports: rounds and files, load, other processes, tables and pictures."""
