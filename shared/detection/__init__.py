"""The bridge to MMDetection: data sets with boxes, detectors, training, and the two benchmarks' own metrics."""
