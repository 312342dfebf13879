"""Packaging of reid-edge; tool configuration is in pyproject.toml."""

from pathlib import Path

from setuptools import find_packages, setup

ROOMS = ("runtime", "models", "calibration", "benchmarks", "export", "training")

# The workstation. The lower bounds are the oldest APIs the code calls; what was tested is in
# constraints.txt.
HOST = [
    "torch>=2.6",  # torch.load defaults to weights_only and its unpickler holes are closed
    "onnx>=1.15",
    "onnxsim>=0.4.36",
    "onnxruntime>=1.19",
    "numpy>=1.20",
    # Headless: opencv-python links GUI libraries, so its `import cv2` fails on a bare machine; both
    # wheels install the same cv2. Below 5: JetPack 5 ships OpenCV 4, OpenCV 5.0 lists changes of
    # behaviour in imgproc, and pixels must be the same on the workstation and on the robot.
    "opencv-python-headless>=4.5,<5",
    "tqdm",
    "pydantic>=2.5",  # recipes: validation with errors that name the field
    "PyYAML>=6",
    "matplotlib>=3.6",  # training curves
    "h5py>=3",  # CUHK03 comes as MATLAB files, raw (HDF5) and with its protocol (scipy)
    "scipy>=1.9",
]

# Nothing on purpose. JetPack ships its own numpy, OpenCV (built with GStreamer and CUDA) and
# TensorRT; apt's OpenCV and TensorRT are unknown to pip, so naming them here would put wheels in
# front of them. For the same reason the base installation requires nothing.
DEVICE = []

TEST = ["pytest>=7", "hypothesis>=6", "psutil", "ruff", "mypy", "types-PyYAML", "motmetrics"]

setup(
    name="reid-edge",
    version="0.1.0",
    description="Person re-identification networks from the training checkpoint to the robot.",
    long_description=Path(__file__).with_name("README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    python_requires=">=3.8",
    packages=find_packages(include=[p for room in ROOMS for p in (room, room + ".*")]),
    package_data={
        "": ["*.json", "py.typed"],
        "training": ["recipes/*.yaml"],
        "models.zoo": ["*.pth", "*.md"],
    },
    install_requires=[],
    extras_require={"host": HOST, "device": DEVICE, "test": TEST},
    entry_points={
        "console_scripts": [
            "reid-export = export.cli:main",
            "reid-train = training.cli:main",
            "reid-build = runtime.build:main",
        ]
    },
)
