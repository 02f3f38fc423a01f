"""A campaign: the runs that claims wait for, made on a machine that is there for a while, those first that decide most.

It needs neither a network nor DVC nor git: plain files in, and one folder out, laid out as the papers' own runs are,
which `papertrail pin` takes as a whole (shared/checkpoints/gathered.py).
"""
