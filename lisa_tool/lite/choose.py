"""From a question and a scene to the objects that answer it, with the reasons.

First *what*: the kinds that the question names, or, when it names none, those in the picture whose
knowledge fits it best. Then *which*: exclusions, colour, relation, order, number. Every step that had to
guess lowers the outcome from found to uncertain.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field, replace

from lisa_tool.lite.colour import colour_share
from lisa_tool.lite.eyes import Eyes
from lisa_tool.lite.knowledge import kinds_by_id
from lisa_tool.lite.lexicon import Named, default_lexicon, tokenize
from lisa_tool.lite.matching import DENIAL, Match, Matcher
from lisa_tool.lite.phrases import GENDERED
from lisa_tool.lite.properties import ALIVE, kinds_that_are
from lisa_tool.lite.question import Question, Relation, parse_question
from lisa_tool.lite.relations import area, box_iou, gap, group, ordered, related, same_thing
from lisa_tool.lite.sam import upscale
from lisa_tool.lite.scene import CONFIRMED, SURE, Scene, SceneObject, distinct
from lisa_tool.results import Outcome

# Thresholds on match scores, fitted on the `dev` cases of `lisa-tool eval lite` (docs/LOG.md tells how).
FITS = 0.45  # a kind in the picture fits the question
WEAK = 0.27  # below this, nothing in the picture has to do with it
BETTER_ELSEWHERE = 0.05  # a kind that is not in the picture fits better by this much: a doubt
MUCH_BETTER_ELSEWHERE = 0.20  # ... by this much: the thing asked for is not here
CLEAR = 0.03  # lead over the second best kind in the picture
AS_GOOD = 0.06  # kinds this close to the best also answer a plural question
IN_LINE = 0.35  # share of it that an object needs to be counted in 'the second from the left'
PROMINENT = 0.45  # share of the most prominent instance's weight that others need
PRESENCE = 0.10  # what being seen surely adds to a kind's match when kinds in the picture are compared
CROWD = 0.28  # detector confidence that is enough for one more of a kind that is there in numbers
MAX_LOOKED_FOR = 4  # kinds that the classifier looks for in one answer
GUESS = 0.15  # classifier confidence from which a kind that was asked for is worth showing
STRONG_HINT = 0.80  # ... or hint, even when the second look does not confirm it


@dataclass
class Choice:
    """The objects chosen, and why."""

    outcome: Outcome
    objects: list[SceneObject]
    wanted: str  # the word or kind that was looked for, for people
    match: Match | None = None
    margin: float | None = None
    others: list[Match] = field(default_factory=list)  # kinds in the picture that fit less
    absent: Match | None = None  # a kind that is not in the picture and fits better
    doubts: list[str] = field(default_factory=list)
    steps: list[str] = field(default_factory=list)


def choose(question: Question, scene: Scene, eyes: Eyes, matcher: Matcher) -> Choice:
    """Answer a question about a scene."""
    return _Chooser(question, scene, eyes, matcher).choose()


@dataclass
class _Chooser:
    question: Question
    scene: Scene
    eyes: Eyes
    matcher: Matcher

    def choose(self) -> Choice:
        q = self.question
        choice = self._wanted()
        if choice.objects and (q.excluded or q.excluded_named):
            self._exclude(choice)
        if choice.objects and q.colour:
            self._keep_colour(choice)
        if choice.objects and q.relation:
            self._keep_related(choice, q.relation)
        if choice.objects:
            self._keep_number(choice)
        people = [o for o in choice.objects if o.kind == "person"]
        if len(people) > 1 and q.named and q.named.word in GENDERED and not q.wants_all:
            choice.doubts.append(f"lite cannot tell who is a {q.named.word}")
        if choice.outcome == "found" and choice.doubts:
            choice.outcome = "uncertain"
        if not choice.objects:
            choice.outcome = "not_found"
        return choice

    # What: the kinds

    def _wanted(self) -> Choice:
        q = self.question
        if q.who and q.predicate:
            return self._who()
        if q.named and q.named.category:
            return self._of_category(q.named)
        if q.named:
            return self._of_kinds(q.named.kinds, q.named.word)
        if q.anything:
            return self._anything()
        if ALIVE & set(tokenize(q.predicate)):
            alive = kinds_that_are("alive")
            return Choice(
                "found", distinct([o for o in self.scene.seen() if o.kind in alive]), "living thing"
            )
        return self._by_knowledge(q.predicate or q.text)

    def _who(self) -> Choice:
        """'Who ...' is a person, or an animal when that fits clearly better or no person is there."""
        beings = {"person"} | {kind.id for kind in kinds_by_id().values() if "animal" in kind.categories}
        choice = self._best_kinds(
            [o for o in self.scene.seen() if o.kind in beings], self.question.predicate, beings
        )
        people = [o for o in self.scene.seen() if o.kind == "person"]
        if people and choice.match and choice.match.kind != "person" and choice.match.score < FITS + AS_GOOD:
            return Choice("found", distinct(people), "person")
        if choice.objects and choice.match and choice.match.kind == "person":
            choice.doubts.clear()
        return choice

    def _of_kinds(self, kinds: Iterable[str], word: str) -> Choice:
        """Objects of kinds that the question names."""
        wanted = set(kinds)
        sure = [o for o in self.scene.seen() if o.kind in wanted]
        if sure and self.question.wants_all:
            more = [o for o in self._closer(wanted) if o.score >= CROWD]
            sure += [o for o in more if not any(same_thing(o.box, s.box) for s in sure)]
        if sure and (self.question.wants_all or self.question.order):
            sure += [o for o in self.scene.objects if o.kind in wanted and o.second_name]
        if sure:
            return Choice("found", distinct(sure), word)
        candidates = self._closer(wanted)
        if sure := [o for o in candidates if o.score >= SURE]:
            others = {o.kind for o in self.scene.seen() for s in sure if box_iou(o.box, s.box) > 0.6}
            doubts = [f"it may be a {' or a '.join(sorted(others))} instead"] if others else []
            return Choice("found", distinct(sure), word, doubts=doubts)
        if confirmed := self._confirmed(wanted):
            sure = [o for o in confirmed if o.score >= CONFIRMED]
            doubts = [] if sure else [f"the {word} is only a guess of the classifier"]
            if sure or not candidates:
                return Choice("found", sure or confirmed[:1], word, doubts=doubts)
        if candidates:
            best = self.eyes.likeliest(self.scene, distinct(candidates))[:1]
            return Choice("uncertain", best, word, doubts=[f"the {word} was seen only faintly"])
        choice = Choice("not_found", [], word)
        known = kinds_by_id()
        if not any(known[kind].visible for kind in wanted):
            choice.doubts.append(f"{word!r} is not among the kinds that lite can see")
        return choice

    def _of_category(self, named: Named) -> Choice:
        """Objects of a category such as 'animal', narrowed by what is said about it ('that purrs')."""
        members = set(named.kinds)
        objects = [o for o in self._visible_objects(members) if o.kind in members]
        predicate = self.question.predicate
        if predicate and len({o.kind for o in objects}) >= 1:
            return self._best_kinds(objects, f"{named.word} {predicate}", members)
        if objects:
            return Choice("found", distinct(objects), named.word)
        if predicate:
            choice = self._by_knowledge(self.question.text)
            choice.doubts.append(f"no {named.word} was seen")
            return choice
        return self._of_kinds(named.kinds, named.word)

    def _anything(self) -> Choice:
        relation = self.question.relation
        if relation and not all(self._of_kinds(a.kinds, a.word).objects for a in relation.anchors):
            return self._by_knowledge(self.question.text)  # it stands next to something that was not seen
        out = {kind for named in self.question.excluded_named for kind in named.kinds}
        excluded = [o for o in self._visible_objects(None) if o.kind in out]
        others = distinct([o for o in self._visible_objects(None) if o.kind not in out])
        clear = [o for o in others if all(box_iou(o.box, x.box) < 0.7 for x in excluded)]
        return Choice("found", distinct([*excluded, *clear]), "object")

    def _by_knowledge(self, description: str) -> Choice:
        """Objects whose kind fits a description best."""
        objects = self._visible_objects(None)
        barred: set[str] = set()
        if self.question.relation and self.question.text == description:
            barred = {kind for anchor in self.question.relation.anchors for kind in anchor.kinds}
        return self._best_kinds([o for o in objects if o.kind not in barred], description, None, barred)

    def _best_kinds(
        self,
        objects: list[SceneObject],
        description: str,
        within: set[str] | None,
        barred: Collection[str] = (),
    ) -> Choice:
        """The kinds among `objects` that fit best; `within` limits which absent kinds may compete, `barred`
        kinds may not be chosen."""
        matches = self.matcher.match(description)
        ranked = [
            m for m in matches.values() if m.kind not in barred and (within is None or m.kind in within)
        ]
        top = ranked[0]
        present: dict[str, float] = {}
        for o in objects:
            present[o.kind] = max(present.get(o.kind, 0.0), o.score)
        for m in ranked[:4]:  # a kind that fits best may still be there, unseen by the detector
            if m.kind not in present and m.score >= FITS and (found := self._hidden(m.kind)):
                objects = [*objects, *found]
                present[m.kind] = found[0].score
        fitting = sorted(
            (m for m in ranked if m.kind in present),
            key=lambda m: -(m.score + PRESENCE * min(1.0, present[m.kind] / SURE)),
        )
        fitting = _one_name_a_place(fitting, objects)
        if not fitting:
            return Choice("not_found", [], description, absent=top)
        best = fitting[0]
        choice = Choice(
            "found",
            [],
            best.kind,
            match=best,
            margin=round(best.score - fitting[1].score, 3) if len(fitting) > 1 else None,
            others=fitting[1:4],
            absent=top if top.kind != best.kind and top.score > best.score else None,
        )
        ahead = top.score - best.score
        if within is None and (best.score < WEAK or ahead > MUCH_BETTER_ELSEWHERE):
            choice.outcome = "not_found"
            return choice
        wanted = {best.kind}
        if self.question.wants_all or (self.question.named and self.question.named.plural):
            wanted |= {m.kind for m in fitting if best.score - m.score < AS_GOOD}
        choice.objects = distinct([o for o in objects if o.kind in wanted])
        if DENIAL.search(description):
            choice.doubts.append("a description by what is missing is hard to check")
        if best.score < FITS and within is None:
            choice.doubts.append(f"nothing fits well (best match {best.score:.2f})")
        if ahead > BETTER_ELSEWHERE:
            choice.doubts.append(f"{top.kind!r} would fit better but was not seen")
        if choice.margin is not None and choice.margin < CLEAR and len(wanted) == 1:
            choice.doubts.append(f"{fitting[1].kind!r} fits almost as well")
        if (
            max(o.score if o.source == "classifier" else o.score + CONFIRMED - SURE for o in choice.objects)
            < CONFIRMED
        ):
            choice.doubts.append(f"the {best.kind} was seen only faintly")
        return choice

    def _visible_objects(self, kinds: set[str] | None) -> list[SceneObject]:
        """What counts as seen; for chosen kinds also what only the classifier can find."""
        seen = self.scene.seen()
        if kinds is not None:
            missing = {h.kind for h in self.scene.hints if h.kind in kinds} - {o.kind for o in seen}
            seen = [*seen, *(o for o in self._confirmed(missing) if o.score >= CONFIRMED)]
        return seen

    def _confirmed(self, kinds: set[str]) -> list[SceneObject]:
        """What stands at the classifier's hints of these kinds, best first; guesses included."""
        found = []
        for hint in [h for h in self.scene.hints if h.kind in kinds][:MAX_LOOKED_FOR]:
            o = self.eyes.confirm(self.scene, hint.kind)
            if o is not None and (o.score >= GUESS or hint.score >= STRONG_HINT):
                found.append(o)
        return distinct(sorted(found, key=lambda o: -o.score))

    def _closer(self, kinds: set[str]) -> list[SceneObject]:
        """Objects of these kinds after a closer look, faint ones too, best first."""
        known = kinds_by_id()
        return self.eyes.look_closer(self.scene, kinds) if any(known[kind].coco for kind in kinds) else []

    def _hidden(self, kind: str) -> list[SceneObject]:
        """Objects of a kind that the first look missed: the sure ones, or the best guess."""
        candidates = self._closer({kind})
        sure = distinct([o for o in candidates if o.score >= SURE])
        guesses = self._confirmed({kind})[:1] or self.eyes.likeliest(self.scene, distinct(candidates))[:1]
        taken = [o.box for o in self.scene.seen()]  # what stands there has a better name already
        return sure or [o for o in guesses if all(box_iou(o.box, box) < 0.7 for box in taken)]

    # Which: the instances

    def _exclude(self, choice: Choice) -> None:
        q = self.question
        if self._exclude_one(choice):
            return
        out = {kind for named in q.excluded_named for kind in named.kinds} or kinds_that_are(q.excluded)
        by_meaning = not out
        if by_meaning:
            matches = self.matcher.match(q.excluded)
            scores = {o.kind: matches[o.kind].score for o in choice.objects}
            bar = max(FITS, max(scores.values()) - AS_GOOD)
            out = {kind for kind, score in scores.items() if score >= bar}
            choice.doubts.append(f"'not {q.excluded}' was judged by meaning, which is rough")
        kept = [o for o in choice.objects if o.kind not in out]
        if len(kept) == len(choice.objects) or (by_meaning and not kept):
            choice.doubts.append(f"nothing that is {q.excluded!r} could be told apart")
            kept = choice.objects
        left_out = sorted({o.kind for o in choice.objects} - {o.kind for o in kept})
        choice.steps.append(f"left out: {', '.join(left_out) or 'nothing'}")
        choice.objects = kept

    def _exclude_one(self, choice: Choice) -> bool:
        """Leave out the objects that a phrase such as 'the man on the left' or 'the red one' picks."""
        part = parse_question(self.question.excluded, default_lexicon())
        part = replace(part, excluded="", excluded_named=())  # 'not ... not ...' ends here
        if not (part.named or part.anything) or not (part.order or part.relation or part.colour):
            return False
        if not part.named:  # 'the red one' of those
            part = replace(part, named=self.question.named, anything=self.question.named is None)
        picked = _Chooser(part, self.scene, self.eyes, self.matcher).choose()
        boxes = [o.box for o in picked.objects]
        kept = [o for o in choice.objects if o.box not in boxes]
        choice.steps.append(f"left out: {len(choice.objects) - len(kept)} of {len(choice.objects)}")
        choice.doubts += picked.doubts
        choice.objects = kept
        return True

    def _keep_colour(self, choice: Choice) -> None:
        colour = self.question.colour or ""
        cut = self.eyes.cut(self.scene, choice.objects[:8])
        shares = [
            colour_share(self.scene.rgb, upscale(o.logits, self.scene.embedding) > 0, colour)
            if o.logits is not None
            else 0.0
            for o in cut
        ]
        best = max(shares)
        if best < 0.12:
            choice.doubts.append(f"none of them looks {colour}")
            return
        choice.objects = [o for o, share in zip(cut, shares, strict=True) if share >= best / 2]
        choice.steps.append(f"{colour}: {len(choice.objects)} of {len(cut)}")

    def _keep_related(self, choice: Choice, relation: Relation) -> None:
        anchors: list[SceneObject] = []
        for named in relation.anchors:
            found = self._of_kinds(named.kinds, named.word).objects
            if not found:
                choice.doubts.append(f"no {named.word} was seen")
                return
            anchors.extend(found)
        anchor_kinds = {o.kind for o in anchors}
        free = self.question.anything or not self.question.named
        candidates = [o for o in choice.objects if not (free and o.kind in anchor_kinds)]
        fitting = related(candidates, relation.place, anchors, self.scene.size_hw)
        n_fitting = len(fitting)
        words = f"{relation.place} the {' and the '.join(named.word for named in relation.anchors)}"
        if not fitting:
            choice.doubts.append(f"nothing was seen clearly {words}")
            fitting = sorted(candidates, key=lambda o: min(gap(o.box, a.box) for a in anchors))[:1]
        every = self.question.wants_all or (
            free and relation.place in {"on", "in", "with"} and self.question.anything
        )
        single = not every and not self.question.order and not self.question.count
        choice.objects = fitting[:1] if single else fitting
        choice.steps.append(f"{words}: {n_fitting} of {len(candidates)}")

    def _keep_number(self, choice: Choice) -> None:
        q = self.question
        several = len(choice.objects) > 1
        if q.unknown:
            choice.doubts.append(f"lite has no name for {q.unknown!r}")
        if q.unchecked and several:
            choice.doubts.append(f"{q.unchecked!r} could not be checked")
        if q.named and not q.named.category and q.predicate and several and not q.wants_all:
            choice.doubts.append(f"{q.predicate!r} could not be checked")
        if q.order:
            heaviest = max(map(_weight, choice.objects))
            small_ones = q.wants_all or q.order in {"smallest", "far"}
            standing = [o for o in choice.objects if small_ones or _weight(o) >= IN_LINE * heaviest]
            line = ordered(standing, q.order, self.scene.size_hw)
            index = len(line) - 1 if q.rank == -1 else q.rank - 1
            if index >= len(line):
                choice.doubts.append(f"only {len(line)} were seen")
                index = len(line) - 1
            if q.wants_all and not q.count and len(line) > 1:
                choice.objects = group(line, q.order, self.scene.size_hw)
            else:
                choice.objects = line[index : index + (q.count or 1)]
            choice.steps.append(f"{q.order}, number {q.rank} of {len(line)}")
        elif q.count:
            choice.objects = sorted(choice.objects, key=_weight, reverse=True)[: q.count]
        elif not q.wants_all and not q.excluded and not q.relation:
            heaviest = max(map(_weight, choice.objects))
            choice.objects = [o for o in choice.objects if _weight(o) >= PROMINENT * heaviest]


def _one_name_a_place(fitting: list[Match], objects: list[SceneObject]) -> list[Match]:
    """Drop kinds that are only another name for the place of the best one, such as the coffee in the cup."""
    best = [o.box for o in objects if o.kind == fitting[0].kind] if fitting else []
    return [
        m
        for i, m in enumerate(fitting)
        if i == 0 or any(all(box_iou(o.box, b) < 0.7 for b in best) for o in objects if o.kind == m.kind)
    ]


def _weight(o: SceneObject) -> float:
    """How prominent an object is: its confidence times its side length."""
    return o.score * math.sqrt(area(o.box))
