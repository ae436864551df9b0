"""The recorded cases that are text: prompts, and token ids of both kinds of tokenizer."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from lisa_tool.eval.parity.compare import CaseReport
from lisa_tool.eval.parity.recording import Recording, read_json
from lisa_tool.lisa.prompt import (
    LLAVA_LLAMA_2,
    TEMPLATES,
    Template,
    build_prompt,
    segmentation_question,
    validation_question,
)
from lisa_tool.lisa.tokenizer import IMAGE, LisaTokenizer

Turns = list[tuple[str, str | None]]

_FOOD = "Can you segment the food that tastes spicy and hot?"
_CUP = ("Can you segment the cup in this image?", "Sure, it is [SEG].")
_SPOON = "And the spoon? Please output segmentation mask."
_CONVERSATIONS: Mapping[str, Turns] = {  # what the recorded prompts are about; the file does not say it
    "single_turn_open": [(_FOOD, None)],
    "single_turn_closed": [(_FOOD, "Sure, [SEG].")],
    "two_turns_open": [_CUP, (_SPOON, None)],
    "two_turns_closed": [_CUP, (_SPOON, "[SEG].")],
    "validation_sentence": [(validation_question("What could keep you awake?", is_sentence=True), "[SEG].")],
    "validation_phrase": [(validation_question("the cup", is_sentence=False), "[SEG].")],
}

_BLANK = "\u2581"
_RECORDED_IMAGE = "<IMAGE>"  # in lists of pieces


class _Parts(BaseModel):
    """What the reference makes a prompt of; in `model_extra` the prompts by name."""

    model_config = ConfigDict(extra="allow")

    system: str
    roles: tuple[str, str]
    sep: str
    sep2: str
    sep_style: str
    version: str


class _Prompts(BaseModel):
    model_config = ConfigDict(extra="allow")

    templates: dict[str, _Parts]
    short_questions: list[str]
    long_questions: list[str]
    explanatory_questions: list[str]
    answers: list[str]


class _Ids(BaseModel):
    text: str
    tokenizer_image_token: list[int]
    plain_no_special: list[int]
    tokens: list[str]
    decoded_without_image: str


def prompts_case(recording: Recording, tokenizer: LisaTokenizer) -> CaseReport:
    """Templates, prompts, and the forms of question and answer that the models were trained with."""
    report = CaseReport("prompts")
    path = recording.beside("prompts.json")
    if not path.exists():
        report.skipped = "prompts.json is not beside the folder"
        return report
    recorded = read_json(path, _Prompts)
    for name, parts in recorded.templates.items():
        if template := TEMPLATES.get(name):
            _compare_template(report, template, parts)
        else:
            report.unknown.append(name)
    _compare_forms(report, recorded)
    for answer in recorded.answers:
        read = tokenizer.answer_text(tokenizer.encode_plain(answer))
        report.equal(f"answer {answer!r}", "text", read, answer)
    report.unknown += recorded.model_extra or {}
    return report


def token_ids_cases(recording: Recording) -> Iterator[CaseReport]:
    """Ids, pieces and decoded text of each string, for each recorded tokenizer."""
    path = recording.beside("token_ids.json")
    if not path.exists():
        yield CaseReport("token_ids", skipped="token_ids.json is not beside the folder")
        return
    for name, strings in read_json(path, dict[str, dict[str, _Ids]]).items():
        folder = recording.beside("tokenizer") / name
        if folder.is_dir():
            yield _token_ids(f"token_ids {name}", folder, strings)
        else:
            yield CaseReport(f"token_ids {name}", skipped=f"tokenizer/{name} is not beside the folder")


def _compare_template(report: CaseReport, template: Template, parts: _Parts) -> None:
    expected = _from_parts(template, parts)
    report.equal(f"{template.name}.system", "text", template, expected)
    for prompt_name, recorded in (parts.model_extra or {}).items():
        if turns := _CONVERSATIONS.get(prompt_name):
            name = f"{template.name}.{prompt_name}"
            report.equal(name, "text", build_prompt(template, turns), recorded)
        else:
            report.unknown.append(f"{template.name}.{prompt_name}")


def _from_parts(template: Template, parts: _Parts) -> Template:
    """The template as the reference puts it together."""
    if template is LLAVA_LLAMA_2:
        return Template(
            name=template.name,
            opening=f"[INST] <<SYS>>\n{parts.system}\n<</SYS>>\n\n",
            question_end=" [/INST]",
            answer_end=f" {parts.sep2}",
            next_question=f"{parts.sep}[INST] ",
        )
    user, assistant = parts.roles
    return Template(
        name=template.name,
        opening=f"{parts.system}{parts.sep}{user}: ",
        question_end=f"{parts.sep}{assistant}:",
        answer_end=parts.sep2,
        next_question=f"{user}: ",
    )


def _compare_forms(report: CaseReport, recorded: _Prompts) -> None:
    """What we ask is one of the trained forms, and a user's question in such a form stays as it is."""
    phrase, sentence = "the cup", "What keeps her dry?"
    short = [_question(form.format(class_name=phrase)) for form in recorded.short_questions]
    long = [_question(form.format(sent=sentence)) for form in recorded.long_questions]
    explained = [f"{sentence} {form}" for form in recorded.explanatory_questions]
    for asked, trained in (
        (validation_question(phrase, is_sentence=False), short),
        (validation_question(sentence, is_sentence=True), long),
        (segmentation_question(sentence), explained),
    ):
        report.equal(f"question {asked!r} is trained", "text", asked.strip() in trained, True)
    for question in (*short, *long, *explained):
        report.equal(f"question {question!r}", "text", segmentation_question(question), question)


def _question(form: str) -> str:
    """Without the image, which stands before it in every template."""
    return form.removeprefix(f"{IMAGE}\n")


def _token_ids(name: str, folder: Path, strings: Mapping[str, _Ids]) -> CaseReport:
    report = CaseReport(name)
    tokenizer = LisaTokenizer.from_folder(folder)
    for string, recorded in strings.items():
        ids = tokenizer.encode(recorded.text)
        report.equal(f"{string}.tokenizer_image_token", "tokens", ids, recorded.tokenizer_image_token)
        plain = tokenizer.encode_plain(recorded.text)
        report.equal(f"{string}.plain_no_special", "tokens", plain, recorded.plain_no_special)
        shown = [_shown(piece, tokenizer.special_strings) for piece in recorded.tokens]
        report.equal(f"{string}.tokens", "text", [tokenizer.shown(i) for i in ids], shown)
        decoded = tokenizer.decode(ids)
        report.equal(f"{string}.decoded_without_image", "text", decoded, recorded.decoded_without_image)
    return report


def _shown(piece: str, specials: Collection[str]) -> str | bytes:
    """What a recorded piece adds to an answer, see `LisaTokenizer.shown`."""
    if piece in specials or piece == _RECORDED_IMAGE:
        return ""
    if piece.startswith("<0x"):
        return bytes.fromhex(piece[3:-1])
    return piece.replace(_BLANK, " ")
