"""Which forms a model's graph can have, by its file: for whoever makes graphs, and for whoever only loads them."""

from models.core.block_formats import FORMATS
from models.core.board_profile import GraphForm
from models.gguf import GgufFile


def has_int8_form(gguf: GgufFile) -> bool:
    """Whether all matrices of a model are quantised: whoever keeps one wider wants it exact."""
    return all(info.type in FORMATS for info in gguf.tensors.values() if info.rows > 1)


def form_of(gguf: GgufFile, wanted: GraphForm) -> GraphForm:
    """Give the form that a model's graph has where a board wants this one."""
    return wanted if has_int8_form(gguf) else GraphForm.EXACT
