"""Which layers a network was trained to keep in float, as the table of its ranges says."""

from __future__ import annotations

from calibration.table import CalibrationTable
from export.graph import Graph
from runtime.errors import ReidEdgeError


def stored_placement(
    table: CalibrationTable | None, target: str, graph: Graph
) -> frozenset[str] | None:
    """Names of the nodes that stay in float.

    Args:
        table: A stored table, or None where the export calibrates.
        target: Target of the export.
        graph: The float graph.

    Returns:
        None where nothing was trained for this target, so that the export chooses.

    Raises:
        ReidEdgeError: The table names nodes that the graph does not have.
    """
    selection = (table.selection if table is not None else None) or {}
    names = selection.get("keep_float")
    if names is None or selection.get("target") != target:
        return None
    known = {node.name for node in graph.nodes}
    unknown = (
        [n for n in names if not isinstance(n, str) or n not in known]
        if isinstance(names, list)
        else [names]
    )
    if unknown:
        raise ReidEdgeError(
            "The calibration table keeps %r in float, which is no layer of this network; pass the "
            "table made with these weights, or --calib DIR." % (unknown[0],)
        )
    return frozenset(names)
