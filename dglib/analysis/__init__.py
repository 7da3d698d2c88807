"""From records to summaries, answers and figures: pure functions that never train, and need no torch."""
