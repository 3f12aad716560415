"""Embedding: looks into vectors, in micro-batches from a shared queue."""
