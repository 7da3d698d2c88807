"""One network trained step by step."""
