"""A run directory mirrored, generation by generation, to a place that cannot be trusted, and brought back."""

from dglib.mirror.background import Mirror
from dglib.mirror.generations import Manifest, newest
from dglib.mirror.passes import SyncReport
from dglib.mirror.restoring import progress, restore

__all__ = ["Manifest", "Mirror", "SyncReport", "newest", "progress", "restore"]
