"""Global average pools within the limits of the BPU."""

from __future__ import annotations

from export.graph import Graph

# Limits of the operator table: H x W of GlobalAveragePool, the kernel of AveragePool.
GLOBAL_POOL_POSITIONS, POOL_KERNEL = 8192, 7


def split_global_pools(graph: Graph) -> int:
    """Make global average pools over too many positions two or more, where the map divides evenly.

    Means of equal tiles have the mean of the whole.

    Returns:
        The number of nodes split; others are left as they are.
    """
    shapes = graph.shapes()
    count = 0
    for node in [n for n in graph.nodes if n.op_type == "GlobalAveragePool"]:
        _, _, height, width = (int(size) for size in shapes[node.input[0]])
        tiles = _tiles(height, width)
        for kernel in tiles:
            pooled = graph.fresh(node.output[0] + "_tiles")
            graph.add_node(
                "AveragePool",
                [node.input[0]],
                [pooled],
                graph.fresh(node.name + "_tiles"),
                kernel_shape=kernel,
                strides=kernel,
            )
            node.input[0] = pooled
        count += bool(tiles)
    graph.sort()
    return count


def _tiles(height: int, width: int) -> list[tuple[int, int]]:
    """Kernels of average pools that leave few enough positions; none where the map is prime."""
    kernels: list[tuple[int, int]] = []
    while height * width > GLOBAL_POOL_POSITIONS:
        kernel = _largest_divisor(height), _largest_divisor(width)
        if kernel == (1, 1):
            return []
        kernels.append(kernel)
        height, width = height // kernel[0], width // kernel[1]
    return kernels


def _largest_divisor(size: int) -> int:
    return max(k for k in range(1, POOL_KERNEL + 1) if size % k == 0)
