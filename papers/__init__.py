"""One folder for each replicated paper."""
