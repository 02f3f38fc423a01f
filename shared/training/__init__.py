"""Training: the recipe as data, one Lightning task, and runs that can be killed anywhere and resumed bit-equal."""
