"""Packaging of reid-edge; tool configuration is in pyproject.toml."""

from pathlib import Path

from setuptools import find_packages, setup

ROOMS = ("runtime", "follow_robot", "models", "calibration", "benchmarks", "export", "training")

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
    "pyserial>=3.4",  # the chassis' port
    "aiohttp>=3.8",  # the dashboard's server
]

# What a robot's computer needs beside JetPack's own packages (numpy, OpenCV, TensorRT), all of them
# available for Python 3.8: scipy is apt's python3-scipy there, so it is not named.
ROBOT = ["pyserial>=3.4", "aiohttp>=3.8", "pydantic>=2.5", "PyYAML>=5.3", "tqdm"]

# Nothing on purpose. JetPack ships its own numpy, OpenCV (built with GStreamer and CUDA) and
# TensorRT; apt's OpenCV and TensorRT are unknown to pip, so naming them here would put wheels in
# front of them. For the same reason the base installation requires nothing.
DEVICE = []

TEST = [
    "pytest>=7",
    "pytest-xdist>=3",  # the tests run in two processes
    "hypothesis>=6",
    "psutil",
    "ruff",
    "mypy",
    "types-PyYAML",
    "types-pyserial",
    "motmetrics",
    "selenium>=4.10",  # drives a real browser through the dashboard
]

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
        "follow_robot": ["defaults.yaml", "dashboard/static/*", "simulator/scenarios/*.yaml"],
        "models.zoo": ["*.pth", "*.md"],
    },
    install_requires=[],
    extras_require={"host": HOST, "device": DEVICE, "robot": ROBOT, "test": TEST},
    entry_points={
        "console_scripts": [
            "reid-export = export.cli:main",
            "reid-train = training.cli:main",
            "reid-build = runtime.build:main",
            "reid-track = runtime.track_cli:main",
            "reid-bench = benchmarks.run:main",
            "follow-robot = follow_robot.cli:main",
        ]
    },
)
