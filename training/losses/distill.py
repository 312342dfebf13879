"""Learning from a teacher network's embeddings: one by one, or by their similarities.

The teacher never gets a gradient. Everything is computed in float32 also under autocast (in float64
for float64).
"""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F

from runtime.errors import ReidEdgeError
from training.losses.numerics import full_precision, unit_rows, upcast


class FeatureDistillation(nn.Module):
    """``1 - cos(project(student), teacher)``, mean over the batch.

    The cosine leaves the teacher's scale out, which retrieval ignores. A zero vector on either side
    costs 1.

    Args:
        student_dim: Ds.
        teacher_dim: Dt.

    Attributes:
        project: Identity where Ds = Dt, else a linear map without bias, learned along and not part of
            the student.
    """

    def __init__(self, student_dim: int, teacher_dim: int):
        super().__init__()
        self.student_dim, self.teacher_dim = student_dim, teacher_dim
        self.project: nn.Module = nn.Identity()
        if student_dim != teacher_dim:
            self.project = nn.Linear(student_dim, teacher_dim, bias=False)

    @full_precision
    def forward(self, student: Tensor, teacher: Tensor) -> Tensor:
        """(N, Ds) and (N, Dt) float embeddings of the same crops to a scalar in [0, 2].

        Raises:
            ReidEdgeError: The shapes are not these.
        """
        n = len(student)
        if student.shape != (n, self.student_dim) or teacher.shape != (n, self.teacher_dim):
            raise ReidEdgeError(
                f"distillation needs ({n}, {self.student_dim}) student and ({n}, {self.teacher_dim})"
                f" teacher embeddings, got {tuple(student.shape)} and {tuple(teacher.shape)}:"
                " pass the dimensions of both networks when creating the loss."
            )
        if isinstance(self.project, nn.Linear):
            student = F.linear(student, upcast(self.project.weight))
        return (1.0 - (unit_rows(student) * unit_rows(teacher.detach())).sum(1)).mean()


class SimilarityDistillation(nn.Module):
    """The student ranks other crops as the teacher does: KL(teacher || student), mean over the batch.

    Each crop has a distribution over other crops, the softmax of cosine / temperature.

    * Without a bank the others are the rest of the batch (never the crop itself), compared within
      each network's own space, so that the dimensions may differ. Batches of one or two crops leave
      nothing to compare and give 0.
    * With a bank they are its rows, to which both networks are compared, as in SEED (Fang et al.,
      "SEED: Self-supervised Distillation for Visual Representation", ICLR 2021). SEED also puts the
      crop's own teacher embedding among them, and lets the two temperatures differ; here the bank is
      taken as it is, and one temperature serves both.

    Args:
        temperature: > 0; small values look at the nearest crops only.

    Raises:
        ReidEdgeError: ``temperature`` is not above 0.
    """

    def __init__(self, temperature: float = 0.05):
        super().__init__()
        if not temperature > 0.0:
            raise ReidEdgeError(f"the temperature must be above 0, got {temperature}: use 0.05.")
        self.temperature = temperature

    @full_precision
    def forward(self, student: Tensor, teacher: Tensor, bank: Tensor | None = None) -> Tensor:
        """Embeddings of the same crops to a scalar.

        Args:
            student: (N, Ds) float.
            teacher: (N, Dt) float.
            bank: (M, Dt) float, L2-normalised embeddings by the teacher; needs Ds = Dt.

        Raises:
            ReidEdgeError: The shapes are not these.
        """
        if student.dim() != 2 or teacher.dim() != 2 or len(student) != len(teacher):
            raise ReidEdgeError(
                "similarity distillation needs (N, Ds) student and (N, Dt) teacher embeddings, got"
                f" {tuple(student.shape)} and {tuple(teacher.shape)}: pass both for the same crops."
            )
        student, teacher = unit_rows(student), unit_rows(teacher.detach())
        if bank is None:
            by_student, by_teacher = others(student @ student.T), others(teacher @ teacher.T)
        else:
            _check_bank(student, teacher, bank)
            columns = bank.detach().T
            by_student = student @ columns.to(student.dtype)
            by_teacher = teacher @ columns.to(teacher.dtype)
        return F.kl_div(
            (by_student / self.temperature).log_softmax(1),
            (by_teacher / self.temperature).log_softmax(1),
            reduction="batchmean",
            log_target=True,
        )


def others(square: Tensor) -> Tensor:
    """(N, N) to (N, N - 1): each row without its diagonal entry, order kept."""
    n = len(square)
    # Behind the first entry, the diagonal is the last of every n + 1 entries.
    return square.reshape(-1)[1:].reshape(n - 1, n + 1)[:, :-1].reshape(n, n - 1)


def _check_bank(student: Tensor, teacher: Tensor, bank: Tensor) -> None:
    dim = teacher.shape[1]
    if bank.dim() != 2 or len(bank) == 0 or bank.shape[1] != dim:
        raise ReidEdgeError(
            f"the bank must hold (M, {dim}) teacher embeddings, at least one, got"
            f" {tuple(bank.shape)}: fill it with the teacher's own embeddings."
        )
    if student.shape[1] != dim:
        raise ReidEdgeError(
            f"a bank of {dim}-dimensional teacher embeddings needs a student of that dimension, got"
            f" {student.shape[1]}: project the student to {dim}, or leave the bank out."
        )
