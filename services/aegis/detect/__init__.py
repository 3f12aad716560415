"""Detection: faces in frames, tracked, and the looks of each track that are worth an embedding."""
