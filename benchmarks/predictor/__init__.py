"""Latency of a network on a Jetson Xavier or a Sunrise X3, predicted from its layers.

    cost = cost_of_onnx("model.fp32.onnx")
    predict(cost, "xavier-nx", "fp16", batch=8, power_mode="15W_6CORE").latency_ms

Every result is predicted, not measured, and comes with an interval.
"""

from benchmarks.predictor.cost import Kernel, NetworkCost
from benchmarks.predictor.onnx_cost import cost_of_onnx
from benchmarks.predictor.predict import Prediction, predict

__all__ = ["Kernel", "NetworkCost", "Prediction", "cost_of_onnx", "predict"]
