"""docs/mpi.md: an MPI program over two nodes, started by srun within its job."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

import pytest

from tests.real import slurm_user

if TYPE_CHECKING:
    from tests.real.slurm_place import Place

pytestmark = [pytest.mark.slurm, pytest.mark.needs("mpi")]

PROGRAM = """
#include <mpi.h>
#include <stdio.h>
#include <stdlib.h>
int main(int argc, char **argv) {
  int rank, sum, one;
  MPI_Init(&argc, &argv);
  MPI_Comm_rank(MPI_COMM_WORLD, &rank);
  one = rank + 1;
  MPI_Reduce(&one, &sum, 1, MPI_INT, MPI_SUM, 0, MPI_COMM_WORLD);
  fprintf(stderr, "%s\\n", getenv("SLURMD_NODENAME"));
  if (rank == 0) printf("%d\\n", sum);
  MPI_Finalize();
}
"""


def test_a_program_of_four_ranks_runs_over_two_nodes(place: Place) -> None:
    source, program = place.folder / "sum.c", place.folder / "sum"
    source.write_text(PROGRAM)
    subprocess.run(["mpicc", "-o", program, source], check=True)
    slurm_user.give(place.folder)
    asked = {"stage": "solve", "nodes": 2, "ntasks": 4, "ntasks_per_node": 2, "mem_per_cpu": "200M"}
    job = place.lab.job("solve", f"srun --mpi=pmi2 '{program}' >o")
    after = place.lab.job("after", 'cat "$(input in0)" >o', needs=[job])
    place.target(resources={"rules": [asked]})
    place.run()
    ranks = (place.repx_dir(job) / "stderr.log").read_text().split()

    assert "10" == place.out(after), "1 + 2 + 3 + 4"
    assert ["n1", "n1", "n2", "n2"] == sorted(ranks)
