"""V3: two branches over the same λ."""
