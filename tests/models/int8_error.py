"""How far the int8 form may be from the architecture's own numbers, on the processor of this machine."""

from typing import Final

import numpy as np
import numpy.typing as npt

from models.board import read_cpuinfo
from models.core.board_profile import EXACT_ONLY, BoardProfile
from models.core.cpu import features

ROUNDED: Final = 0.06  # relative rms error of the logits; the exact form stays within 0.03 on these models
SATURATED: Final = 0.3  # where sums of pairs end at 16 bits: that is why no profile uses the form there
SATURATES: Final = BoardProfile.of(features(read_cpuinfo())) == EXACT_ONLY
TOLERANCE: Final = SATURATED if SATURATES else ROUNDED


def relative_error(found: npt.NDArray[np.float32], expected: npt.NDArray[np.float32]) -> float:
    """Give the rms of the difference as a part of the rms of what was expected."""
    return float(np.sqrt(np.mean((found - expected) ** 2) / np.mean(expected**2)))
