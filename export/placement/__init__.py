"""Where quantization goes: one policy per target, one data structure for all."""
