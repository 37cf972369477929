"""What is measured: each module is one section of the report, and ``run()`` measures it."""
