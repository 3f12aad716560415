"""Vision without I/O: decode, align, judge, track, hide and score faces in numpy arrays; time is an argument."""
