"""What the server holds between calls: the backend, the jobs, the handles, and who may see which result."""

from __future__ import annotations

import logging
from functools import partial
from pathlib import Path

import lisa_tool
from lisa_tool.engine.call import Progress
from lisa_tool.errors import ConversationNotFound, ResultNotFound
from lisa_tool.images import list_images
from lisa_tool.images.roots import Roots
from lisa_tool.mcp.answers import HandledImage, ImageList, Status
from lisa_tool.mcp.backend import LazyBackend, OpenBackend
from lisa_tool.mcp.jobs import JOB_ID, Job, JobBoard, User
from lisa_tool.mcp.references import References
from lisa_tool.results import Segmentation
from lisa_tool.settings import Settings
from lisa_tool.store import ResultStore

logger = logging.getLogger(__name__)

SHUTDOWN_S = 5.0
"""How long the end of the server waits for calls to notice that they should stop."""


class Service:
    """Everything behind the tools. Where there are users, each meets only what is theirs.

    A single user (None) may also read results of earlier runs; a named user only those of this run, for
    nothing on disk says whose they are. The places for calls, the quota of results on disk and the number of
    conversations are shared by all users.
    """

    def __init__(self, settings: Settings, open_backend: OpenBackend) -> None:
        self.settings = settings
        self.backend = LazyBackend(settings, open_backend)
        # As many as the queue in front of a model holds, so that none waits in a thread only to be refused.
        self.jobs = JobBoard(settings.limits.max_waiting + 1, settings.limits.output_max_results)
        self._references = References(settings.limits)
        self._store = ResultStore(settings.output_dir, settings.limits)

    def begin(self, user: User, image: str, query: str, conversation_id: str) -> Job:
        """Begin to answer. Raises LisaError for what can be known at once; the rest is the job's error."""
        reference = self._references.resolve(user, image)
        if conversation_id and user is not None and not self._owns_conversation(user, conversation_id):
            raise ConversationNotFound(f"there is no conversation {conversation_id[:80]!r} here (any more)")
        handle = self._references.handle(user, reference) if reference is not None else ""
        return self.jobs.start(user, handle, partial(self._answer, reference, query, conversation_id or None))

    def result(self, user: User, result_id: str) -> tuple[Segmentation, str]:
        """A finished result and the handle of its image, '' when unknown. Raises ResultNotFound."""
        for job, result in self.jobs.results(user):
            if result.result_id == result_id:
                self._store.folder(result_id)
                return result, job.image_handle
        if user is not None:
            raise ResultNotFound(f"there is no result {result_id[:80]!r} here")
        return self._store.load(result_id), ""

    def job(self, user: User, result_id: str) -> Job | None:
        """The job under the id of a call; None when it is the id of a result. Raises ResultNotFound."""
        return self.jobs.find(user, result_id) if JOB_ID.fullmatch(result_id) else None

    def file(self, user: User, result_id: str, name: str) -> Path:
        """A file of a result. Raises ResultNotFound."""
        result, _ = self.result(user, result_id)
        paths = [mask.path for mask in result.masks] + ([result.overlay_path] if result.overlay_path else [])
        if name != "result.json" and name not in {Path(path).name for path in paths}:
            raise ResultNotFound(f"result {result_id} has no file {name[:80]!r}")
        return self._store.folder(result_id) / name

    def images(self, user: User, folder: str, name_contains: str, limit: int) -> ImageList:
        """The images that may be read, newest first. Raises an ImageError."""
        found = list_images(self.settings, folder or None, name_contains or None, limit)
        images = tuple(
            HandledImage(
                **image.model_dump(exclude={"path"}),
                path=image.path.encode("utf-8", "replace").decode(),  # a name need not be text, JSON must
                handle=self._references.handle(user, image.path),
            )
            for image in found
        )
        return ImageList(images=images, folders=self.folders())

    def folders(self) -> tuple[str, ...]:
        """The folders that may be read, links followed."""
        return tuple(str(folder) for folder in Roots.of(self.settings.roots).folders)

    def status(self) -> Status:
        """What is going on; never waits."""
        return Status(
            version=lisa_tool.__version__,
            backend=self.settings.model,
            state=self.backend.state,
            model=self.backend.model,
            running=self.jobs.running,
            max_running=self.settings.limits.max_waiting + 1,
            folders=self.folders(),
            url_hosts=self.settings.url_hosts,
            output_dir=str(self.settings.output_dir),
            limits=self.settings.limits.model_dump(),
        )

    def close(self) -> None:
        """Stop all calls and let go of the backend, unless a thread still uses it."""
        if self.jobs.stop(SHUTDOWN_S):
            self.backend.close()
        else:
            logger.warning("a call did not stop within %.0f s; the model is left to it", SHUTDOWN_S)

    def _answer(
        self, reference: str | None, query: str, conversation_id: str | None, job: Job
    ) -> Segmentation:
        job.tell(Progress("opening the model", 0.0))

        def tell(progress: Progress) -> None:
            self.backend.seen(progress)
            job.tell(progress)

        with self.backend.use(job.stop) as segmenter:
            return segmenter.segment(
                reference, query, conversation_id=conversation_id, progress=tell, cancel=job.stop
            )

    def _owns_conversation(self, user: User, conversation_id: str) -> bool:
        return any(result.conversation_id == conversation_id for _, result in self.jobs.results(user))
