"""Every mutant of a module: mutmut's mutations, of decorated functions too, and conditions turned round or left out.

mutmut itself leaves out whatever is decorated, so every property; here each mutant is a module of its own, so there is
no need for that.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import libcst as cst
from libcst.metadata import ByteSpanPositionProvider, CodeSpan, MetadataWrapper
from mutmut.mutation.mutators import mutation_operators

from tests.mutation.change import Change

NOT_MUTATED = (cst.Annotation, cst.Decorator, cst.Import, cst.ImportFrom)  # an import would only break the module
Mutation = tuple[str, cst.CSTNode, cst.CSTNode]  # in which function, what, and what it becomes


@dataclass(frozen=True)
class Mutant:
    """A module in which one thing is different."""

    change: Change
    code: str


def mutants_of(module: str, code: str) -> Iterator[Mutant]:
    """Yield each mutant of a module once, those of one function together."""
    tree = cst.parse_module(code)
    spans = MetadataWrapper(tree, unsafe_skip_copy=True).resolve(ByteSpanPositionProvider)
    seen = {code}
    for function, before, after in _mutations(tree, ""):
        mutated = _spliced(code, tree, spans[before], before, after) or tree.deep_replace(before, after).code
        if mutated not in seen:
            seen.add(mutated)
            yield Mutant(Change.between(module, function or "-", code, mutated), mutated)


def _spliced(code: str, tree: cst.Module, span: CodeSpan, before: cst.CSTNode, after: cst.CSTNode) -> str | None:
    """Put one node's text in the place of another's, which is a hundred times quicker; None where that is not exact."""
    raw, end = code.encode(), span.start + span.length
    if raw[span.start : end].decode() != tree.code_for_node(before).strip():
        return None
    text: str = tree.code_for_node(after).strip()
    return (raw[: span.start] + text.encode() + raw[end:]).decode()


def _mutations(node: cst.CSTNode, function: str) -> Iterator[Mutation]:
    if isinstance(node, NOT_MUTATED) or _is_type_check(node):
        return
    if isinstance(node, cst.FunctionDef | cst.ClassDef):
        function = f"{function}.{node.name.value}".lstrip(".")
    for kind, mutate in mutation_operators:
        if isinstance(node, kind):
            yield from ((function, node, mutated) for mutated in mutate(node))
    yield from ((function, *mutation) for mutation in _conditions(node))
    for child in node.children:
        yield from _mutations(child, function)


def _conditions(node: cst.CSTNode) -> Iterator[tuple[cst.CSTNode, cst.CSTNode]]:
    """Turn round what an `if` asks, and leave out what a comprehension asks."""
    if isinstance(node, cst.If):
        asked = node.test.with_changes(lpar=[cst.LeftParen()], rpar=[cst.RightParen()])
        yield node.test, cst.UnaryOperation(cst.Not(), asked)
    elif isinstance(node, cst.CompFor):
        for left_out in range(len(node.ifs)):
            yield node, node.with_changes(ifs=[*node.ifs[:left_out], *node.ifs[left_out + 1 :]])


def _is_type_check(node: cst.CSTNode) -> bool:
    """Whether it is `isinstance(...)`, whose arguments altered only raise a TypeError."""
    return isinstance(node, cst.Call) and isinstance(node.func, cst.Name) and node.func.value == "isinstance"
