"""What a network costs: parameters, multiply-adds, activations, memory, latency."""

from shared.measure.cost import Latency, latency, peak_memory
from shared.measure.counting import Count, count

__all__ = ["Count", "Latency", "count", "latency", "peak_memory"]
