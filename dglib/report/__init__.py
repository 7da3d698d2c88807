"""The page over runs, and the two commands that print numbers of records: `analyse` and `compare`."""
