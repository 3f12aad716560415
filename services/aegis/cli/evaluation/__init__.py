"""Measuring error rates offline on photos of known people, and telling them to those who have to answer for them."""
