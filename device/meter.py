"""What callers have asked and used of late, held against what their keys allow; all in memory, on the node's age."""

import heapq
import math
from collections.abc import Callable
from dataclasses import replace
from typing import Final

from device.core.access import UNLIMITED, Caller
from device.core.admission import Standing
from device.core.budgets import Allowance, Pace, Spent, prompt_tokens
from device.errors import BudgetUsedUpError, BusyError, TooManyRequestsError
from device.wording import duration
from models.core.request import GenerationRequest

# One phone may use up this part of what all guests of a key have, so that the others find something left.
PHONES_PART: Final = 4
MAX_CLIENTS: Final = 512
# Whoever has a budget gets no longer answers, so that a few questions do not set all of it aside; the context of a node
# as it comes.
MAX_ANSWER_TOKENS: Final = 2048


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
        """Set tokens aside for a question, its prompt and its answer.

        Raises TooManyRequestsError, BudgetUsedUpError, and BusyError where others' questions in hand may leave enough;
        nothing is counted then.
        """
        now, client = self._age(), caller.client.id
        allowance = self._allowance(caller.key)
        wait_s = self._paces.get(client, Pace()).next_in_s(allowance.per_minute, now=now)
        if wait_s:
            message = f"{allowance.per_minute} questions a minute are allowed; the next one in {wait_s} s"
            raise TooManyRequestsError(message, retry_after_s=wait_s)
        accounts = self._accounts(caller, allowance)
        prompt, most = prompt_tokens(request), request.sampling.max_tokens
        for name, limit in accounts.items():
            most = min(most, MAX_ANSWER_TOKENS, self._room(name, limit, prompt, now))
        if allowance.per_minute:
            self._remember(client, self._paces.get(client, Pace()).asked(allowance.per_minute, now=now))
        periods: dict[str, float] = {}
        for name in accounts:
            self.spent[name] = self.spent.get(name, Spent()).set_aside(prompt + most, now=now)
            periods[name] = self.spent[name].since_s
            self._on_change()
        shortened = replace(request, sampling=replace(request.sampling, max_tokens=most))
        return Charge(shortened, lambda tokens: self._settle(periods, prompt + most, tokens))

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

    def _room(self, name: str, allowance: Allowance, prompt: int, now: float) -> int:
        """How long an answer may be beside such a prompt: one token at least.  Raises BudgetUsedUpError, BusyError."""
        spent, most = self.spent.get(name, Spent()).at(now), allowance.per_day
        room = most - spent.tokens - prompt
        if room > 0:
            return room
        if room + spent.aside > 0:
            raise BusyError(f"what is left of the {most} tokens a day is set aside for answers that are being given")
        used_up = f"the {most} tokens a day are used up"
        if spent.tokens - spent.aside < most:
            used_up = f"of the {most} tokens a day too few are left for a question of some {prompt}"
        wait_s = spent.renews_in_s(now=now)
        message = f"{used_up}; they are back in {duration(wait_s + 59)}"
        raise BudgetUsedUpError(message, retry_after_s=math.ceil(wait_s))

    def _settle(self, periods: dict[str, float], aside: int, used: int) -> None:
        """Count what a question used, where it was set aside: not in a later period, nor for whoever was forgotten."""
        for name, since_s in periods.items():
            spent = self.spent.get(name)
            if spent is not None and spent.since_s == since_s:
                self.spent[name] = spent.settled(aside, used)
                self._on_change()

    def _remember(self, client: str, pace: Pace) -> None:
        self._paces[client] = pace
        if len(self._paces) > MAX_CLIENTS:
            recent = heapq.nlargest(MAX_CLIENTS // 2, self._paces.items(), key=lambda item: item[1].at_s)
            self._paces = dict(recent)
