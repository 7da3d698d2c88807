"""T1 and T2: a threshold on the way up, one on the way down, and the width between them."""
