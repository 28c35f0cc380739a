"""Which modules are mutated, and which tests have to notice; the likeliest to do so come first."""

from typing import Final

TESTS: Final = "tests/mesh/core"
LEDGER: Final = (
    "test_acts",
    "test_charter",
    "test_decisions",
    "test_agenda",
    "test_ledger_order",
    "test_ledger_goes_on",
    "test_equivocation",
    "test_standing",
    "test_contributions",
)

SUBJECTS: Final = {
    "tally": ("test_tally", "test_voting", "test_decisions", "test_agenda"),
    "charter": ("test_charter", "test_decisions", "test_agenda", "test_ledger_order", "test_ledger_goes_on"),
    "decisions": ("test_charter", "test_decisions", "test_agenda", "test_ledger_order", "test_ledger_goes_on"),
    "roll": LEDGER,
    "acts": LEDGER,
    "voting": ("test_voting", "test_decisions", "test_agenda"),
    "causality": ("test_causality", *LEDGER),
    "equivocation": LEDGER,
}

# What costs seconds: sizes that are there to show that size makes no difference, and what memory is used.
TOO_SLOW: Final = (
    "test_voting.py::test_one_equivocator_forks_neither_four_nor_a_hundred[100]",
    "test_voting.py::test_thirty_three_equivocators_do_not_fork_a_hundred",
    "test_causality.py::test_an_admission_costs_no_memory_for_the_history_before_it",
    "test_agenda.py::test_who_votes_in_a_round_far_away_hides_nothing",
)
