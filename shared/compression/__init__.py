"""Making networks smaller: which channels or weights go, and the smaller network as widths plus weights, no pickle."""
