"""The Horizon X3 (BPU bernoulli2): its graph, its toolchain and a simulation of its arithmetic."""
