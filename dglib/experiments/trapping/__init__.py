"""Tδ1: what marks, early, the seeds that end trapped."""
