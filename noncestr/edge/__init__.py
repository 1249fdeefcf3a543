"""The edge's wiring: lanes, their processes, clocks, the operator's socket."""
