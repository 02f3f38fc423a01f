"""Networks that two or more papers use.

A network whose maps others build on (detectors, figures) has a method `features`, which means one thing in every paper:
images (N, C, H, W) to a dict of named maps (N, channels, h, w), in the network's order, each of half the height and
width of the one before: what the last block before the next halving gives. What stands behind the last map is not
computed. The method's docstring gives the names and the strides.
"""
