"""Host side of reid-edge: how accurate (retrieval) and how fast (latency) a network is."""
