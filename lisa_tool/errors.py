"""Every error a caller can meet.

    LisaError
    ├── InvalidQuery              the question is blank, too long, or not text
    ├── ConversationNotFound      the handle was never given out here, or has expired
    ├── BadSettings               an option, environment variable or config file is wrong
    ├── ImageError
    │   ├── ImageNotFound         no such file, or a path of another machine
    │   ├── PathNotAllowed        outside the allowed folders
    │   ├── UrlNotAllowed         URLs are off, or this one is not allowed
    │   ├── UrlFetchFailed        the download failed
    │   ├── ImageUnreadable       not an image that can be decoded
    │   ├── ImageTooLarge         over the limit in bytes, pixels or side
    │   └── ImageShapeUnsupported too small or too thin
    ├── OutputError
    │   ├── OutputNotWritable     the result folder cannot be written
    │   ├── OutputFull            disk or quota is full
    │   └── ResultNotFound        no such result id here
    ├── BackendError
    │   ├── UnknownModel          no backend answers to this name
    │   ├── MissingExtra          an optional part is not installed
    │   ├── CheckpointNotFound    a checkpoint, or a part it needs, is neither here nor on the hub
    │   ├── CheckpointInvalid     its keys, shapes or files are not those of its kind
    │   ├── CheckpointUnsupported a kind that this version cannot run
    │   ├── UnsafeWeights         a weight file holds more than tensors; nothing of it was run
    │   ├── WeightsCorrupt        a weight file is missing or differs from its checksum
    │   ├── DownloadFailed        the hub did not deliver
    │   └── ModelTooLarge         the model does not fit in the memory that is free
    └── CallError
        ├── ServerBusy            too many callers are waiting
        ├── DeadlineExceeded      the time given ran out
        ├── Cancelled             the caller cancelled
        ├── OutOfMemory           the answer did not fit in memory
        ├── NotFinite             the model's numbers overflowed
        ├── DeviceFailed          the GPU is in a state that only a new process leaves
        └── InternalError         a bug; details are in the log under an id

    try:
        result = segmenter.segment("photo.jpg", "what would you drink from?")
    except lisa_tool.LisaError as e:
        print(e.code, e.message, e.hint, e.retryable)

`message` says what happened and `hint` what to do next; both are written for the caller, often a model. The
only paths in them are the one that the caller named, the allowed folders and the output folder. `code` and
`retryable` are stable; the wording is not. The groups (`ImageError`, ...) are there to be caught; what is
raised is one of the others.
"""

from __future__ import annotations

from typing import ClassVar, TypedDict


class ErrorDict(TypedDict):
    """The JSON form of an error, the same on every surface."""

    code: str
    message: str
    hint: str
    retryable: bool


class LisaError(Exception):
    """Base of every error that lisa-tool raises on purpose."""

    code: ClassVar[str] = "error"
    retryable: ClassVar[bool] = False
    default_hint: ClassVar[str] = ""

    def __init__(self, message: str, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = self.default_hint if hint is None else hint

    def to_dict(self) -> ErrorDict:
        """The JSON form: `{"code", "message", "hint", "retryable"}`."""
        return {
            "code": self.code,
            "message": self.message,
            "hint": self.hint,
            "retryable": self.retryable,
        }

    def to_text(self) -> str:
        """One actionable line: what happened, what to do, the code."""
        sentence = self.message if self.message.endswith((".", "?", "!")) else f"{self.message}."
        return " ".join(f"{sentence} {self.hint} [{self.code}]".split())

    def __reduce__(self) -> tuple[type[LisaError], tuple[str, str]]:
        return type(self), (self.message, self.hint)


class InvalidQuery(LisaError):
    """The question is blank, too long, or not text."""

    code = "invalid_query"
    default_hint = "Ask for one thing in the picture in plain words."


class ConversationNotFound(LisaError):
    """The handle was never given out here, or has expired."""

    code = "conversation_not_found"
    default_hint = "Ask again without a conversation: the answer carries a new handle."


class BadSettings(LisaError):
    """An option, environment variable or config file is wrong."""

    code = "bad_settings"
    default_hint = "`lisa-tool doctor` shows the settings in force and where each comes from."


class ImageError(LisaError):
    """The image reference could not be turned into pixels."""


class ImageNotFound(ImageError):
    """No such file, or a path of another machine."""

    code = "image_not_found"
    default_hint = "Check the path, or list the images that can be read."


class PathNotAllowed(ImageError):
    """The path lies outside the allowed folders."""

    code = "path_not_allowed"
    default_hint = "Copy the image into an allowed folder, or allow its folder: --allow DIR, or LISA_ROOTS."


class UrlNotAllowed(ImageError):
    """URLs are off, or this one is not allowed."""

    code = "url_not_allowed"
    default_hint = "Save the image to a file and pass its path."


class UrlFetchFailed(ImageError):
    """The download failed."""

    code = "url_fetch_failed"
    retryable = True
    default_hint = "Try again, or save the image to a file and pass its path."


class ImageUnreadable(ImageError):
    """The bytes are not an image that can be decoded."""

    code = "image_unreadable"
    default_hint = "Send a complete JPEG, PNG, WebP, GIF or BMP file."


class ImageTooLarge(ImageError):
    """The image is over the limit in bytes, pixels or side."""

    code = "image_too_large"
    default_hint = "Send a smaller copy."


class ImageShapeUnsupported(ImageError):
    """The image is too small or too thin to segment."""

    code = "image_shape_unsupported"
    default_hint = "Send a picture at least 2 pixels wide and high, at most 100 times longer than wide."


class OutputError(LisaError):
    """Results could not be written or read."""


class OutputNotWritable(OutputError):
    """The result folder cannot be written."""

    code = "output_not_writable"
    default_hint = "Choose a folder that you may write: --out DIR, or LISA_OUTPUT_DIR."


class OutputFull(OutputError):
    """The disk or the quota is full."""

    code = "output_full"
    default_hint = "Free some space or choose another folder: --out DIR, or LISA_OUTPUT_DIR."


class ResultNotFound(OutputError):
    """There is no such result here."""

    code = "result_not_found"
    default_hint = "Results expire when the output quota is reached: segment the image again."


class BackendError(LisaError):
    """The model could not be opened."""


class UnknownModel(BackendError):
    """No backend answers to this name."""

    code = "unknown_model"
    default_hint = "Use 'lite', the embedded default, or a LISA checkpoint such as 'xinlai/LISA-7B-v1'."


class MissingExtra(BackendError):
    """An optional part is not installed; the message says which command installs it."""

    code = "missing_extra"
    default_hint = "Run the command, then try again."


class CheckpointNotFound(BackendError):
    """A checkpoint, or a part it needs, is neither here nor on the hub."""

    code = "checkpoint_not_found"
    default_hint = "Check the name or folder; without a connection, give the folder that holds the files."


class CheckpointInvalid(BackendError):
    """A checkpoint's keys, shapes or files are not those of its kind."""

    code = "checkpoint_invalid"
    default_hint = "Download the checkpoint again, or convert it again: lisa-tool convert."


class CheckpointUnsupported(BackendError):
    """This kind of checkpoint cannot be run by this version."""

    code = "checkpoint_unsupported"
    default_hint = "Use a LISA v1 checkpoint, such as 'xinlai/LISA-7B-v1' or 'xinlai/LISA-13B-llama2-v1'."


class UnsafeWeights(BackendError):
    """A weight file holds more than tensors; nothing of it was run."""

    code = "unsafe_weights"
    default_hint = "Do not use this file: get the checkpoint from a source that you trust."


class WeightsCorrupt(BackendError):
    """A weight file is missing or differs from its checksum."""

    code = "weights_corrupt"
    default_hint = "Install the weights again: pip install --force-reinstall lisa-tool-lite"


class DownloadFailed(BackendError):
    """The hub did not deliver."""

    code = "download_failed"
    retryable = True
    default_hint = "Try again, or download the checkpoint by other means and give its folder."


class ModelTooLarge(BackendError):
    """The model does not fit in the memory that is free."""

    code = "model_too_large"
    default_hint = "Choose a smaller precision, such as nf4, or a smaller checkpoint."


class CallError(LisaError):
    """This one call did not come to an end."""


class ServerBusy(CallError):
    """Too many callers are waiting."""

    code = "server_busy"
    retryable = True
    default_hint = "Wait a few seconds and send the same call again."


class DeadlineExceeded(CallError):
    """The time given ran out."""

    code = "deadline_exceeded"
    retryable = True
    default_hint = "Give more time, or send a smaller image."


class Cancelled(CallError):
    """The caller cancelled."""

    code = "cancelled"
    default_hint = "Send the call again when you want the answer."


class OutOfMemory(CallError):
    """The answer did not fit in memory."""

    code = "out_of_memory"
    retryable = True
    default_hint = "Send a smaller image, or close other programs."


class NotFinite(CallError):
    """The model's numbers overflowed."""

    code = "not_finite"
    default_hint = "Load the model in another precision: bf16 or fp32 (LISA_PRECISION)."


class DeviceFailed(CallError):
    """The GPU is in a state that only a new process leaves."""

    code = "device_failed"
    default_hint = "Restart lisa-tool; when it comes back, look at the GPU's driver and memory."


class InternalError(CallError):
    """A bug in lisa-tool; the log holds the details under the id in the message."""

    code = "internal_error"
    default_hint = "Please report it with the id and the log."
