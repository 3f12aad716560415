"""The command line: everything a person does with a running system, and running one on a single machine."""
