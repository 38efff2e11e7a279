"""The oracle: it judges a round by what was written down, without asking the library anything."""

from __future__ import annotations

from collections import Counter, defaultdict
from math import inf

from .functions import POOLS, REFUSED
from .logs import NAMES, lines_of
from .reading import calls_of, paired, stored_in

SELECTED = {"KeyboardInterrupt", "CancelledError"}
"""How a draw ends that may lose an answer which its call has just returned: whoever interrupts it says so."""

LEAVING = 2.0
"""Seconds in which the calls of a map end that somebody has left."""


class Oracle:
    """What happened in a round, and what is wrong with it."""

    def __init__(self, folder):
        self._folder = folder
        calls, draws, deeds, signals = (lines_of(folder / "logs" / name) for name in NAMES)
        self.wrong: list[str] = []
        self.killed = {line["of"]: line["at"] for line in signals if line["what"] == "kill"}
        self._forked = {line["pid"] for line in signals if line["what"] == "born" and line["how"] == "fork"}
        self.calls = calls_of(calls)
        self.made = {value: call for call in self.calls for value in call["makes"]}
        self.operations = paired(draws, "operation", lambda line: line["what"] == "begin")
        self.deeds = paired([line for line in deeds if "deed" in line], "deed", lambda line: line["is_begun"])
        self._said = [line for line in deeds if "deed" not in line]
        self._signals = signals
        self.stored, self._left = stored_in(folder)
        self.of_place = defaultdict(list)
        """The operations by kind and prompt."""
        for operation in self.operations:
            for prompt in set(operation["prompts"]):
                self.of_place[operation["kind"], prompt].append(operation)

    def judge(self):
        """Return what is wrong."""
        self._nothing_unforeseen()
        for check in (self._made_for_it, self._distinct, self._in_its_slot, self._kept, self._as_missing):
            check()
        for check in (self._one_flight, self._gapless, self._replayed, self._in_order):
            check()
        return self.wrong

    def figures(self):
        """Count what happened."""
        whys = Counter(operation["why"] for operation in self.operations)
        return Counter(
            {
                "draws": len(self.operations),
                "deliveries": sum(len(operation["got"]) for operation in self.operations),
                "calls": len(self.calls),
                "kills": sum(line["what"] == "kill" for line in self._signals),
                "stops": sum(line["what"] == "stop" for line in self._signals),
                "interrupts": sum(line["what"] == "interrupt" for line in self._signals),
                "draws interrupted": whys["KeyboardInterrupt"],
                "draws cancelled": whys["CancelledError"],
                "draws failed": whys["ModelFailed"],
                "draws cut off by a kill": sum(operation["end"] is None for operation in self.operations),
                "processes": sum(line["what"] == "born" for line in self._signals),
                "forks": sum(line["what"] == "born" and "fork" in line["how"].split() for line in self._signals),
                **{f"deeds: {what}": number for what, number in Counter(deed["what"] for deed in self.deeds).items()},
            }
        )

    def _say(self, promise, text):
        self.wrong.append(f"{promise}: {text}")

    # When something happened, as far as it can be told.

    def _is_dead(self, thing):
        """Tell whether something has no end because its process was killed."""
        return thing["end"] is None and thing["pid"] in self.killed

    def _end(self, thing):
        return thing["end"] if thing["end"] is not None else self.killed.get(thing["pid"], inf)

    def _boundaries(self, reader, place, *, prunes):
        """Return when a reader's cursor in a call began anew: from when until when, and whether it surely did."""
        for deed in self.deeds:
            of_reader = deed["what"] in {"rewind", "drop"} and deed["reader"] == reader
            of_call = deed["what"] == "forget" and (deed["kind"], deed["prompt"]) == place
            is_prune = deed["what"] == "prune" and (prunes or self._is_loaded_after(deed))
            if (of_reader or of_call or is_prune) and deed.get("why") != "OptionError":
                is_sure = deed["end"] is not None and deed["why"] is None and not is_prune
                yield deed["begin"], self._end(deed), is_sure

    def _is_loaded_after(self, deed):
        return any(load["what"] == "load" and self._end(load) >= deed["begin"] for load in self.deeds)

    def _generations(self, operation, boundaries):
        """Return the first and the last generation of a cursor that an operation may have drawn of."""
        first = sum(is_sure and end <= operation["begin"] for _, end, is_sure in boundaries)
        return first, sum(begin <= self._end(operation) for begin, _, _ in boundaries)

    # The checks.

    def _nothing_unforeseen(self):
        closed = {deed["pid"] for deed in self.deeds if deed["what"] == "close"}
        for line in self._said:
            if line["what"] == "fault":
                self._say("fault", line["text"])
            elif line["category"] != "NotStoredWarning" or line["pid"] not in closed:
                self._say("warning", f"{line['category']}: {line['text']}")
        for operation in self.operations:
            if operation["end"] is None and not self._is_dead(operation):
                self._say("hang", f"{operation} never ended")
        for complaint in self._left:
            self._say("P3", complaint)

    def _made_for_it(self):
        """P8: what is given is an answer to what was asked."""
        for operation in self.operations:
            for prompt, value in operation["got"]:
                call = self.made.get(value)
                if call is None or call["kind"] != operation["kind"] or prompt not in call["prompts"]:
                    self._say("P8", f"{value} was given for {operation['kind']}({prompt}), and made by {call}")

    def _distinct(self):
        """P1: within a generation of its cursor a reader is given nothing twice, and no slot."""
        by_value, by_slot = defaultdict(list), defaultdict(list)
        for operation in self.operations:
            if operation["kind"] in POOLS or operation["mode"] == "replay":
                continue
            slots = operation["slots"] if len(operation["slots"]) == len(operation["got"]) else ()
            for prompt, value in operation["got"]:
                by_value[operation["reader"], operation["kind"], prompt, value].append(operation)
            for (prompt, value), slot in zip(operation["got"], slots, strict=False):
                # What is not kept leaves its slot vacant, and gives its position back.
                is_kept = value in self.stored[operation["kind"], prompt] or not self._is_closed_on(operation)
                if is_kept and not value.endswith(REFUSED):
                    by_slot[operation["reader"], operation["kind"], prompt, slot].append(operation)
        for given, prunes in ((by_value, False), (by_slot, True)):
            for (reader, *place, what), operations in given.items():
                if len(operations) > 1:
                    boundaries = [*self._boundaries(reader, tuple(place), prunes=prunes)]
                    ranges = [self._generations(operation, boundaries) for operation in operations]
                    if not _fit(ranges):
                        self._say("P1", f"{reader} was given {what} of {place} in generations {ranges}: {operations}")

    def _in_its_slot(self):
        """P2: a sample is of one slot, for whoever draws it."""
        moved = {deed["what"] for deed in self.deeds} >= {"load"} and bool(
            {deed["what"] for deed in self.deeds} & {"forget", "prune"}
        )
        for operation in self.operations:
            if len(operation["slots"]) != len(operation["got"]) or moved:
                continue
            for (prompt, value), slot in zip(operation["got"], operation["slots"], strict=True):
                at = self.stored[operation["kind"], prompt].get(value, slot)
                if at != slot:
                    self._say("P2", f"{value} was given as slot {slot} and is in {at}: {operation}")

    def _kept(self):
        """P7: what was given is stored, and what was made is, unless somebody has seen to it that it is not."""
        given = {value for operation in self.operations for _, value in operation["got"]}
        replaced = Counter()
        for call in self.calls:
            for prompt, value in zip(call["prompts"], call["makes"], strict=True):
                place = call["kind"], prompt
                if value in self.stored[place] or value.endswith(REFUSED) or call["outcome"] != "answered":
                    continue
                if self._was_removed(place, call) or self._was_closed(place, call):
                    continue
                if value in given or not self._was_selected(place, call):
                    replaced[place] += 1
                    if replaced[place] > self._refreshes(place):
                        self._say("P7", f"{value} of {place} is not stored (given: {value in given}): {call}")

    def _was_removed(self, place, call):
        return any(
            deed["what"] == "prune" or (deed["what"] == "forget" and (deed["kind"], deed["prompt"]) == place)
            for deed in self.deeds
            if self._end(deed) >= call["begin"] and deed.get("why") != "OptionError"
        )

    def _was_closed(self, place, call):
        """Tell whether the cache was closed while a draw was under way; it is told so, and may say so."""
        return any(
            self._is_closed_on(operation)
            for operation in self.of_place[place]
            if operation["pid"] == call["pid"] and self._end(operation) + LEAVING >= call["begin"]
        )

    def _is_closed_on(self, operation):
        """Tell whether a cache was closed while an operation was under way, or while what it had left was."""
        end = self._end(operation) + (LEAVING if operation["left"] else 0)
        return any(
            deed["begin"] <= end and self._end(deed) >= operation["begin"]
            for deed in self.deeds
            if deed["what"] == "close" and deed["pid"] == operation["pid"]
        )

    def _was_selected(self, place, call):
        """Tell whether somebody who wanted it was interrupted, cancelled or killed meanwhile."""
        cut = self.killed.keys() | self._forked
        for operation in self.of_place[place]:
            if operation["pid"] != call["pid"] or operation["begin"] > self._end(call):
                continue
            # A kill takes effect somewhat after it was written down.
            if self._is_dead(operation) or (operation["left"] and operation["pid"] in cut):
                return True
            # What a draw has left is written when others let go of the lock, and a kill may come before.
            is_cut = self.killed.get(operation["pid"], inf) <= self._end(call) + LEAVING
            if operation["why"] in SELECTED and (is_cut or self._end(call) <= operation["end"]):
                return True
        return False

    def _refreshes(self, place):
        """Return how many answers may have taken the place of others: a gathered call serves several operations."""
        refreshing = [each for each in self.of_place[place] if each["mode"] == "refresh"]
        return sum(
            call["prompts"].count(place[1])
            for call in self.calls
            if call["outcome"] == "answered" and call["kind"] == place[0]
            if any(
                each["pid"] == call["pid"] and each["begin"] <= call["begin"] <= self._end(each) for each in refreshing
            )
        )

    def _as_missing(self):
        """P4: a draw that was given what it asked for has had nothing made that it was not given."""
        made = defaultdict(list)
        for call in self.calls:
            if call["outcome"] == "answered":
                made[call["operation"]] += call["makes"]
        for operation in self.operations:
            mine = set(made[operation["operation"]])
            # One call may serve several of these, and is logged as one draw's.
            is_shared = operation["kind"] == "many" or (operation["kind"] == "batch" and operation["how"] == "one")
            if operation["end"] is not None and operation["why"] is None and not operation["left"] and not is_shared:
                given = {value for _, value in operation["got"]}
                if operation["mode"] == "replay" and mine:
                    self._say("P4", f"a replay called for {mine}: {operation}")
                elif not mine <= given and not self._was_forgotten(operation):
                    self._say("P4", f"{mine - given} was made and not given: {operation}")

    def _was_forgotten(self, operation):
        """Tell whether a call was forgotten while an operation had it in flight, which draws anew then."""
        return any(
            deed["begin"] <= self._end(operation) and self._end(deed) >= operation["begin"]
            for deed in self.deeds
            if deed["what"] == "forget" and deed["kind"] == operation["kind"] and deed["prompt"] in operation["prompts"]
        )

    def _one_flight(self):
        """P5: no more calls for a pool are under way at any moment than it has slots."""
        moments = defaultdict(list)
        for call in self.calls:
            if call["kind"] in POOLS:
                end = max(call["begin"], call["end"] or self.killed.get(call["pid"], 0))
                moments[call["kind"], call["prompts"][0]] += [(call["begin"], 1, call), (end, 0, call)]
        for (kind, prompt), times in moments.items():
            under_way = 0
            for _, begins, call in sorted(times, key=lambda time: time[:2]):
                under_way += 1 if begins else -1
                if under_way > POOLS[kind]:
                    self._say("P5", f"{under_way} calls of {kind}({prompt}) were under way at once: {call}")

    def _gapless(self):
        """P3: a reader is given everything, but for what killed draws may have been given unseen."""
        drained = {each["operation"] for each in self.operations if each["how"] == "drain"}
        at_last = {value for call in self.calls if call["operation"] in drained for value in call["makes"]}
        for reader in {operation["reader"] for operation in self.operations}:
            for place, stored in self.stored.items():
                if place[0] in POOLS:
                    continue
                boundaries = [*self._boundaries(reader, place, prunes=False)]
                last = sum(is_sure for *_, is_sure in boundaries)
                mine = [each for each in self.of_place[place] if each["reader"] == reader and each["mode"] != "replay"]
                now = [each for each in mine if self._generations(each, boundaries)[1] >= last]
                given = {value for each in now for prompt, value in each["got"] if prompt == place[1]}
                unseen = sum(self._unseen(each, place) for each in now) + len(given - stored.keys())
                brought, more = self._brought(mine, place)
                missing = stored.keys() - given - brought - at_last
                if len(missing) > unseen + more:
                    self._say("P3", f"{reader} was never given {missing} of {place}; {unseen} may be unseen")

    def _unseen(self, operation, place):
        """Return how many samples an operation may have been given that nobody could write down."""
        asked = operation["prompts"].count(place[1])
        if self._is_dead(operation) or ((operation["why"] or operation["left"]) and self._is_closed_on(operation)):
            return asked
        was_interrupted = operation["left"] and operation["pid"] in self.killed.keys() | self._forked
        return asked if was_interrupted or (operation["left"] and operation["kind"] == "tell") else 0

    def _brought(self, mine, place):
        """Return what a load may have brought back as given, and how much more: what was when the file was written.

        What was in flight at that moment counts as given, if it had a sample; so did what nobody saw until then.
        """
        loaded = {deed.get("file") for deed in self.deeds if deed["what"] == "load"}
        exports = [deed for deed in self.deeds if deed["what"] == "export" and deed.get("file") in loaded]
        then = [each for each in mine if any(each["begin"] <= self._end(export) for export in exports)]
        given = {value for each in then for prompt, value in each["got"] if prompt == place[1]}
        more = sum(
            each["prompts"].count(place[1])
            if any(each["begin"] <= self._end(export) and self._end(each) >= export["begin"] for export in exports)
            else self._unseen(each, place)
            for each in then
        )
        return given, more

    def _replayed(self):
        """P2: a replay reads in order, and once, what its namespace was given."""
        changed = {deed["what"] for deed in self.deeds} & {"load"}
        for operation in self.operations:
            if operation["mode"] != "replay":
                continue
            if operation["slots"] != sorted(set(operation["slots"])):
                self._say("P2", f"a replay is out of order: {operation}")
            place = operation["kind"], operation["prompts"][0]
            before = (
                [
                    each
                    for each in self.of_place[place]
                    if each["reader"] == operation["reader"]
                    and each["mode"] != "replay"
                    and each["begin"] <= operation["end"]
                ]
                if operation["end"] is not None
                else []
            )
            given = {value for each in before for _, value in each["got"]}
            read = {value for _, value in operation["got"]}
            unseen = sum(each["prompts"].count(place[1]) for each in before if self._end(each) >= operation["begin"])
            unseen += sum(
                self._unseen(each, place) for each in before if each["end"] is not None or self._is_dead(each)
            )
            if len(read - given) > unseen + self._refreshes(place) and not changed:
                self._say("P2", f"a replay gave {read - given}, which was never given: {operation}")

    def _in_order(self):
        """P6: where nothing was given back, who asked after another was served has a later slot."""
        if {deed["what"] for deed in self.deeds} & {"rewind", "drop", "forget", "prune", "load"}:
            return
        for place, operations in self.of_place.items():
            for reader in {each["reader"] for each in operations}:
                mine = [each for each in operations if each["reader"] == reader and each["mode"] != "replay"]
                gave_back = any(
                    each["end"] is None or each["why"] or each["left"] or self._is_closed_on(each) for each in mine
                )
                if place[0] in POOLS or gave_back:
                    continue
                self._require_order(place, [each for each in mine if len(each["slots"]) == len(each["got"])])

    def _require_order(self, place, operations):
        ended, highest = sorted(operations, key=lambda each: each["end"]), -1
        at = 0
        for operation in sorted(operations, key=lambda each: each["begin"]):
            while ended[at]["end"] < operation["begin"]:
                highest = max([highest, *_slots_of(ended[at], place[1])])
                at += 1
            slots = _slots_of(operation, place[1])
            refused = any(value.endswith(REFUSED) for each in operations for _, value in each["got"])
            if slots and min(slots) <= highest and not refused:
                self._say("P6", f"slot {min(slots)} came after {highest}: {operation}")


def _slots_of(operation, prompt):
    return [slot for (asked, _), slot in zip(operation["got"], operation["slots"], strict=True) if asked == prompt]


def _fit(ranges):
    """Tell whether each can have a generation of its own."""
    left, generation = sorted(ranges), 0
    while left:
        may = [each for each in left if each[0] <= generation]
        if may:
            soonest = min(may, key=lambda each: each[1])
            if soonest[1] < generation:
                return False
            left.remove(soonest)
        generation += 1
    return True
