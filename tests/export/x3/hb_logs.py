"""Logs in the formats that hb_mapper prints, composed for the tests.

Columns, spellings and the order of lines follow the manual and published logs; nodes and figures are
invented.
"""

from __future__ import annotations

STAMP = "2023-04-30 12:46:11,222"

CHECKER = f"""\
{STAMP} INFO Start hb_mapper....
{STAMP} INFO hb_mapper version 1.15.5
{STAMP} INFO Begin model checking....
{STAMP} INFO HorizonNN version: 0.16.3
{STAMP} INFO HBDK version: 3.44.1
[==================================================] 100%
{STAMP} INFO consumed time 0.741772
{STAMP} INFO FPS=30.93, latency = 32328.6 us   (see ./.hb_check/main_graph_subgraph_0.html)
{STAMP} INFO The converted model node information:
=====================================================
Node               ON   Subgraph  Type
-----------------------------------------------------
Conv_0             BPU  id(0)     HzSQuantizedConv
Sigmoid_1          BPU  id(0)     HzLut
fc_reshape_0       CPU  --        Reshape
UNIT_CONV_FOR_Add  BPU  id(1)     HzSQuantizedConv
{STAMP} INFO End to Horizon NN Model Convert.
{STAMP} INFO ONNX model output num : 1
{STAMP} INFO End model checking....
"""

_HEAD = "%-34s%-5s%-10s%-24s%-19s%-12s%s"
_ROWS = [
    ("Node", "ON", "Subgraph", "Type", "Cosine Similarity", "Threshold", "In/Out DataType"),
    ("HZ_PREPROCESS_FOR_images", "BPU", "id(0)", "HzSQuantizedPreprocess", "0.999949", "127.000000", "int8/int8"),
    ("Conv_0", "BPU", "id(0)", "HzSQuantizedConv", "0.999869", "1.502627", "int8/int8"),
    ("Split_6", "BPU", "id(0)", "Split", "", "", "int8/int8"),
    ("...e3.13/nonlinearity/Relu_output", "BPU", "id(0)", "HzPad", "0.742658", "6.380197", "int8/int8"),
    ("/neck/Gemm", "BPU", "id(1)", "HzSQuantizedConv", "0.991500", "21.596825", "int8/int32"),
    ("/neck/Gemm_reshape_output", "CPU", "--", "Reshape", "0.991500", "--", "float/float"),
]  # fmt: skip


def makertbin(
    success: str = "Convert to runtime bin file successfully!", rows=_ROWS, line: str = "INFO "
) -> str:
    """A log of makertbin; ``line`` stands between time stamp and message."""
    table = [_HEAD % row for row in rows]
    body = [
        f"{STAMP} {line}Start hb_mapper....",
        f"{STAMP} {line}hb_mapper version 1.15.5",
        f"{STAMP} {line}Start Model Convert....",
        f"{STAMP} {line}Run calibration model with default calibration method.",
        f"{STAMP} {line}Select max-percentile:percentile=0.99995 method.",
        f"{STAMP} {line}FPS=54.28, latency = 18423.3 us, DDR = 69137136 bytes   (see main_graph_subgraph_0.html)",
        f"{STAMP} {line}FPS=900.1, latency = 1111.0 us, DDR = 1024 bytes   (see main_graph_subgraph_1.html)",
        f"{STAMP} {line}The converted model node information:",
        "=" * len(table[0]),
        table[0],
        "-" * len(table[0]),
        *table[1:],
        f"{STAMP} {line}The quantify model output:",
        "=" * 80,
        "Node          Cosine Similarity  L1 Distance  L2 Distance  Chebyshev Distance  ",
        "-" * 80,
        "/neck/Gemm    0.991500           1.503200     0.060809     8.068202",
        f"{STAMP} {line}[Sun Apr 30 12:46:11 2023] End to Horizon NN Model Convert.",
        f"{STAMP} {line}start convert to *.bin file....",
        f"{STAMP} {line}hbdk version        : 3.44.1",
        f"{STAMP} {line}hbdk runtime version: 3.15.17.0",
        f"{STAMP} {line}horizon_nn version  : 0.16.3",
        f"{STAMP} {line}{success}",
        f"{STAMP} {line}End Model Convert",
    ]
    return "\n".join(body) + "\n"


NEWER = (
    "file: tool_utils.py func: tool_utils line No: 326 "  # what newer versions print for a level
)

FAILED = f"""\
{STAMP} INFO Start hb_mapper....
{STAMP} INFO Start Model Convert....
{STAMP} ERROR wrong input name: 'data', available: ['images']
{STAMP} ERROR exception in command: makertbin
"""

TRACEBACK = """\
Traceback (most recent call last):
  File "/usr/local/bin/hb_tool", line 8, in <module>
    sys.exit(main())
ModuleNotFoundError: No module named 'hbdk'
"""

BOARD = """\
Running condition:
  Thread number is: 1
  Frame count   is: 200
  core number   is: 1
  Program run time: 818.985000 ms
Perf result:
  Frame totally latency is: 800.621155 ms
  Average    latency    is: 4.003106 ms
  Frame      rate       is: 244.204717 FPS
"""
