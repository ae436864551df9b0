"""find -> crop -> measure -> decide in a graph: python examples/04_langgraph_workflow.py [IMAGE QUESTIONS]"""

import sys
from pathlib import Path
from typing import Any, TypedDict

from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import END, START, StateGraph
from PIL import Image, ImageOps, ImageStat

import lisa_tool
from lisa_tool.integrations.langchain import LisaSegmentTool

PHOTOS = Path(lisa_tool.__file__).parent / "eval" / "photos"
OUT = Path("lisa-results")
# What is not found is asked for in the next words; the cut-out is lisa-results/cutout.png.
QUESTIONS = ("the flowers", "what needs watering now and then?")


class Work(TypedDict):
    questions: list[str]
    found: Any
    colour: list[int]
    decision: str


def main(image: str = str(PHOTOS / "typing.jpg"), *questions: str) -> None:
    tool = LisaSegmentTool(settings=lisa_tool.load_settings(roots=[PHOTOS, Path.cwd()], output_dir=OUT))

    def find(work: Work) -> Any:
        question, *others = work["questions"]
        args = {"image": image, "query": question}
        answer = tool.invoke({"name": tool.name, "args": args, "id": "1", "type": "tool_call"})
        print(f"{question}\n{answer.content}\n")
        return {"found": answer.artifact, "questions": others}

    def crop(work: Work) -> Any:
        (mask, *_), photo = work["found"]["masks"], ImageOps.exif_transpose(Image.open(image)).convert("RGB")
        photo.putalpha(Image.open(mask["path"]))
        photo.crop(photo.getchannel("A").getbbox()).save(OUT / "cutout.png")

    def measure(work: Work) -> Any:
        photo = Image.open(OUT / "cutout.png")
        return {"colour": ImageStat.Stat(photo.convert("RGB"), photo.getchannel("A")).mean}

    def decide(work: Work) -> Any:
        return {"decision": "use it" if work["found"]["outcome"] == "found" else "ask a person to look"}

    def then(work: Work) -> str:
        return "crop" if work["found"] and work["found"]["masks"] else "find" if work["questions"] else END

    graph = StateGraph(Work).add_sequence([crop, measure, decide]).add_node(find).add_edge(START, "find")
    app = graph.add_conditional_edges("find", then).compile(InMemorySaver())
    thread: Any = {"configurable": {"thread_id": "1"}}
    done = app.invoke({"questions": list(questions or QUESTIONS)}, thread)
    print(done.get("decision"), done.get("colour"), len([*app.get_state_history(thread)]), "checkpoints")


if __name__ == "__main__":
    main(*sys.argv[1:])
