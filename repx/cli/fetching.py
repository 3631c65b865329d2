"""Results that another place has already: copied to the target before a plan is carried out."""

from __future__ import annotations

from typing import TYPE_CHECKING

from repx.cli import report

if TYPE_CHECKING:
    from collections.abc import Callable

    from repx.plan import Plan
    from repx.sources import Supply
    from repx.store import Store


def all_of(plan: Plan, supply: Supply, store: Store, planned: Callable[[], Plan]) -> Plan:
    """Copy the results that a plan fetches; return the plan for the jobs that are left."""
    while plan.fetched:
        report.fetched(supply.bring(plan.fetched, store))
        plan = planned()
    return plan
