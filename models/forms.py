"""Which forms a model's graph can have, by its file: for whoever makes graphs, and for whoever only loads them."""

from models.architecture import Family
from models.core.block_formats import FORMATS
from models.core.board_profile import GraphForm
from models.gguf import GgufFile


def has_int8_form(gguf: GgufFile, family: Family) -> bool:
    """Whether a model can be computed in int8.

    All its matrices must be quantised: whoever keeps one wider wants it exact.  And the state's rotation must commute
    with all that is done to the state: norms of what is added to it have gains that do not.
    """
    return not family.post_norms and all(info.type in FORMATS for info in gguf.tensors.values() if info.rows > 1)


def form_of(gguf: GgufFile, family: Family, wanted: GraphForm) -> GraphForm:
    """Give the form that a model's graph has where a board wants this one."""
    return wanted if has_int8_form(gguf, family) else GraphForm.EXACT
