"""The jobs of a Lab as a graph of networkx, with parameters and states."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from repx.results.loading import optional
from repx.status import State

if TYPE_CHECKING:
    from repx.results.lab import Lab


def of_lab(lab: Lab) -> Any:  # noqa: ANN401  # networkx has no types here
    """Return a ``networkx.DiGraph``; edges lead from a job to the jobs that read its outputs."""
    networkx = optional("networkx", "a graph of jobs")
    outcomes = lab.jobs().outcomes()
    graph = networkx.DiGraph(lab=lab.model.id)
    for job in lab.jobs():
        graph.add_node(
            job.id,
            name=job.name,
            stage=job.stage,
            runs=job.runs,
            status=str(outcomes.get(job.id, State.PENDING)),
            params=job.effective_params,
        )
    graph.add_edges_from((need, job) for job, needs in lab.model.needs.items() for need in needs)
    return graph
