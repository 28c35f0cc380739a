"""What callers have asked and used of late, held against what their keys allow; all in memory, on the node's age."""

import heapq
import math
from collections.abc import Callable
from dataclasses import replace
from typing import Final

from device.core.access import UNLIMITED, Caller
from device.core.admission import Standing
from device.core.budgets import Allowance, Pace, Spent
from device.errors import BudgetUsedUpError, TooManyRequestsError
from device.wording import duration
from models.core.request import GenerationRequest

# One phone may use up this part of what all guests of a key have, so that the others find something left.
PHONES_PART: Final = 4
MAX_CLIENTS: Final = 512


class Charge:
    """What one question is allowed.  request: the question, shortened to what is left of the budget."""

    def __init__(self, request: GenerationRequest, settle: Callable[[int], None]) -> None:
        self.request = request
        self._settle = settle

    def settle(self, tokens: int) -> None:
        """Say what it took; what was set aside beyond that is given back."""
        self._settle(tokens)


class Meter:
    """Counts questions and tokens.  allowance: of a key, by its digest; age: the node's, in seconds.

    on_change: called whenever tokens have been counted.
    """

    def __init__(
        self,
        *,
        allowance: Callable[[str], Allowance] = lambda _: UNLIMITED,
        age: Callable[[], float] = lambda: 0.0,
        on_change: Callable[[], None] = lambda: None,
    ) -> None:
        self._allowance = allowance
        self._age = age
        self._on_change = on_change
        self._paces: dict[str, Pace] = {}
        self.spent: dict[str, Spent] = {}
        """Tokens by key, and by phone: the digest of either."""

    def begin(self, caller: Caller, request: GenerationRequest) -> Charge:
        """Set tokens aside for a question.  Raises TooManyRequestsError, BudgetUsedUpError; nothing is counted then."""
        now, client = self._age(), caller.client.id
        allowance = self._allowance(caller.key)
        wait_s = self._paces.get(client, Pace()).next_in_s(allowance.per_minute, now=now)
        if wait_s:
            message = f"{allowance.per_minute} questions a minute are allowed; the next one in {wait_s} s"
            raise TooManyRequestsError(message, retry_after_s=wait_s)
        accounts = self._accounts(caller, allowance)
        for name, limit in accounts.items():
            self._require_some(name, limit, now)
        left = [self.left(name, limit) for name, limit in accounts.items()]
        most = min([request.sampling.max_tokens, *(tokens for tokens in left if tokens is not None)])
        if allowance.per_minute:
            self._remember(client, self._paces.get(client, Pace()).asked(allowance.per_minute, now=now))
        self._add(accounts, most)
        shortened = replace(request, sampling=replace(request.sampling, max_tokens=most))
        return Charge(shortened, lambda tokens: self._add(accounts, tokens - most))

    def left(self, name: str, allowance: Allowance) -> int | None:
        """How many tokens a key or a phone may still use; None without a limit."""
        return self.spent.get(name, Spent()).left(allowance, now=self._age())

    def renews_in_s(self, name: str) -> float:
        """When it may use all of its tokens again."""
        return self.spent.get(name, Spent()).renews_in_s(now=self._age())

    def forget(self, name: str) -> None:
        """Drop what is known of a key or a phone."""
        self._paces.pop(name, None)
        self.spent.pop(name, None)

    def _accounts(self, caller: Caller, allowance: Allowance) -> dict[str, Allowance]:
        """What is charged for this caller: its key, and for a guest's phone that phone too."""
        if not allowance.per_day:
            return {}
        accounts = {caller.key: allowance}
        if caller.client.standing is Standing.GUEST and caller.client.id != caller.key:
            accounts[caller.client.id] = replace(allowance, per_day=math.ceil(allowance.per_day / PHONES_PART))
        return accounts

    def _require_some(self, name: str, allowance: Allowance, now: float) -> None:
        spent = self.spent.get(name, Spent())
        if spent.left(allowance, now=now) == 0:
            wait_s = spent.renews_in_s(now=now)
            message = f"the {allowance.per_day} tokens a day are used up; they are back in {duration(wait_s + 59)}"
            raise BudgetUsedUpError(message, retry_after_s=math.ceil(wait_s))

    def _add(self, accounts: dict[str, Allowance], tokens: int) -> None:
        now = self._age()
        for name in accounts:
            self.spent[name] = self.spent.get(name, Spent()).plus(tokens, now=now)
            self._on_change()

    def _remember(self, client: str, pace: Pace) -> None:
        self._paces[client] = pace
        if len(self._paces) > MAX_CLIENTS:
            recent = heapq.nlargest(MAX_CLIENTS // 2, self._paces.items(), key=lambda item: item[1].at_s)
            self._paces = dict(recent)
