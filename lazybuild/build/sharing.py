"""Pushes what this build learned of its bases, in the background of what ends the build.

Only records that changed are pushed. Nothing here makes a build fail: where nothing was asked for,
a repository that can't be written is tried once and then left alone.
"""

import threading
from collections import defaultdict

from lazybuild.build import profile
from lazybuild.build.accesses import Accesses
from lazybuild.build.ahead import OFF, Ahead
from lazybuild.build.profile import Profile, StepReads
from lazybuild.build.space import Space
from lazybuild.errors import LazybuildError
from lazybuild.events import Noted, Warned
from lazybuild.oci import reference
from lazybuild.oci.reference import Reference
from lazybuild.sources.images import Images

REFUSED = "profile-refused"
WAIT_SECONDS = 20.0


class Sharing:
    """`with Sharing(...)`: pushing goes on beside the body and is waited for at its end."""

    def __init__(
        self, space: Space, accesses: Accesses, ahead: Ahead, images: Images, *, target: str
    ) -> None:
        self._space = space
        self._accesses = accesses
        self._ahead = ahead
        self._images = images
        self._target = target
        self._thread: threading.Thread | None = None

    def __enter__(self) -> None:
        found = {} if self._target == OFF else self._by_base()
        if found:
            self._thread = threading.Thread(
                target=self._push_all, args=(found,), name="profile-push", daemon=True
            )
            self._thread.start()

    def __exit__(self, *error: object) -> None:
        if self._thread is not None:
            self._thread.join(WAIT_SECONDS)

    def _by_base(self) -> dict[Reference, list[StepReads]]:
        found: defaultdict[Reference, list[StepReads]] = defaultdict(list)
        for vertex, reads in self._accesses.recorded():
            base = profile.base_of(vertex)
            ref = reference.parse(base.identifier.partition("://")[2]) if base else None
            if ref is not None and ref.digest:
                found[ref].append(reads)
        return found

    def _push_all(self, found: dict[Reference, list[StepReads]]) -> None:
        for base, steps in found.items():
            name = reference.parse(self._target).name if self._target else base.name
            if not self._target and self._space.store.meta.memo_get(REFUSED, name):
                continue
            try:
                self._push(name, base, steps)
            except LazybuildError as error:
                self._refused(name, error)

    def _push(self, name: str, base: Reference, steps: list[StepReads]) -> None:
        from lazybuild.build import shared_profiles  # noqa: PLC0415 - the registry client
        from lazybuild.registry import push  # noqa: PLC0415 - likewise

        with shared_profiles.open_registry(self._space.config) as registry:
            known = self._ahead.profile(base.digest) if base.digest else Profile()
            steps = [step for step in steps if step.differs(known.find(step.keys[:1]))]
            if not steps:
                return
            push.check_push(registry, name)
            subject = self._images.load(base).descriptor
            made = shared_profiles.publish(registry, name, subject, known, steps)
        self._space.sink(Noted(message=f"access profile {made.digest[:19]} pushed to {name}"))

    def _refused(self, name: str, error: LazybuildError) -> None:
        if self._target:
            text = f"the access profile was not pushed to {name}: {error.message}"
            self._space.sink(Warned(message=text))
        else:
            self._space.store.meta.memo_put(REFUSED, name, error.message)
