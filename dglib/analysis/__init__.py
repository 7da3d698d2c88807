"""From records to summaries, sentences and figures: pure functions that never train, and need no torch."""
