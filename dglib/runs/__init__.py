"""Seeds on disk: running one or several, stores, checkpoints, identity, reading, mirrors, verification."""
