"""Refuses renditions whose options contradict each other."""

from collections.abc import Sequence

from imgsvc.domain.imaging.shape import contradictions
from imgsvc.domain.imaging.spec import Spec
from imgsvc.errors import InvalidUpload, Problem


def check_shapes(specs: Sequence[Spec], entries: Sequence[str], max_pixels: int) -> None:
    """Check the specs with all that they inherit; `entries` are the names in the field `renditions`.

    Raises:
        InvalidUpload: see `contradictions`; lists all of them.
    """
    problems = []
    for spec in specs:
        path = f"renditions.{entries.index(spec.name)}." if spec.name in entries else ""
        for member, sentence in contradictions(spec, max_pixels):
            problems.append(Problem("contradiction", f"{path}{member}: {sentence}", column=f"{path}{member}"))
    if problems:
        listed = "; ".join(problem.detail for problem in problems[:3])
        raise InvalidUpload(f"The upload was rejected: {listed}", tuple(problems))
