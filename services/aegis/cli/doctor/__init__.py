"""What is wrong with a deployment, as seen from inside, and what to do about it."""
