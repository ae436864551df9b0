"""Count the bytes of the tensors that are alive at the same time; exact also on the meta device."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from typing import Any

from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves


class LiveBytes(TorchDispatchMode):
    """`with LiveBytes() as count:` ... `count.peak`. Tensors that were there before are not counted."""

    def __init__(self) -> None:
        super().__init__()
        self.live = 0
        self.peak = 0
        self._known: set[int] = set()

    def __torch_dispatch__(
        self,
        func: Callable[..., Any],
        types: object,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        given = {id_of(t) for t in tree_leaves((args, kwargs)) if isinstance(t, Tensor)}
        result = func(*args, **(kwargs or {}))
        for tensor in tree_leaves(result):
            if isinstance(tensor, Tensor) and id_of(tensor) not in given | self._known:
                storage = tensor.untyped_storage()
                self._known.add(id_of(tensor))
                self.live += storage.nbytes()
                weakref.finalize(storage, self._gone, id_of(tensor), storage.nbytes())
        self.peak = max(self.peak, self.live)
        return result

    def _gone(self, storage_id: int, n_bytes: int) -> None:
        self._known.discard(storage_id)
        self.live -= n_bytes


def id_of(tensor: Tensor) -> int:
    """Views of one storage have one id."""
    return int(tensor.untyped_storage()._cdata)
