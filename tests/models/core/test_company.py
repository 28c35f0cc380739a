"""What is found out of kernels that round in one way or another."""

from collections.abc import Sequence

import pytest

from models.core.company import BLOCK, TRIED, Company, Computed, company_of

IDS = list(range(100, 100 + TRIED))
ANY, BLOCKS, NONE = Company(1), Company(BLOCK), Company(0)


def kernel(kind: str) -> Computed:
    """Give logits that tell the token, its place, and what the kind of kernel makes of its company."""

    def compute(held: int, ids: Sequence[int]) -> list[bytes]:
        stop = held + len(ids)
        rows = []
        for place, token in enumerate(ids, held):
            block = place // BLOCK
            filled = stop >= BLOCK * (block + 1)
            tails = {
                "any": False,
                "blocks": not filled,  # some keys of its block are added up one by one
                "none": len(ids) == 1,
                "one place in four": place % BLOCK != BLOCK - 1 and len(ids) == 1,
            }
            alone_anyway = place % BLOCK == BLOCK - 1 and kind == "blocks"
            rows.append(f"{token} {place} {tails[kind] and not alone_anyway}".encode())
        return rows

    return compute


@pytest.mark.parametrize("held", range(9))
@pytest.mark.parametrize(
    ("machine", "kind", "expected"),
    [
        ("x86_64", "any", ANY),
        ("x86_64", "blocks", NONE),
        ("x86_64", "none", NONE),
        ("x86_64", "one place in four", NONE),
        ("aarch64", "any", BLOCKS),  # perhaps it only seems so
        ("aarch64", "blocks", BLOCKS),
        ("aarch64", "none", NONE),
        ("aarch64", "one place in four", NONE),
    ],
)
def test_kernels_are_told_apart_wherever_it_is_tried(machine: str, kind: str, expected: Company, held: int) -> None:
    """One comparison would be right by chance in one place of four."""
    assert expected == company_of(kernel(kind), held, IDS, machine=machine)


@pytest.mark.parametrize("held", range(50))
def test_runs_have_the_bits_of_tokens_alone(held: int) -> None:
    """Of as many tokens as are allowed, and of fewer; one more would change some."""
    compute, most = kernel("blocks"), BLOCKS.most(held)
    for count in range(1, most + 1):
        alone = [row for place in range(count) for row in compute(held + place, [IDS[place]])]
        assert alone == compute(held, IDS[:count])
    longer = [row for place in range(most + 1) for row in compute(held + place, [IDS[place]])]
    assert longer != compute(held, IDS[: most + 1])


def test_how_many_tokens_may_be_computed_at_once() -> None:
    """In blocks four at most, and from each end of such a run four again; where company changes all, one."""
    assert [BLOCKS.most(held) for held in range(8)] == [3, 2, 1, 4, 3, 2, 1, 4]
    assert NONE.most(3) == 1
    assert ANY.most(3) >= TRIED
