"""What the tests of the kernels in C++ share."""

from collections.abc import Iterator

import pytest

from nlphub.kernels import native
from nlphub.kernels.native import build


@pytest.fixture(scope="module", params=["native", "haswell"])
def compiled(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Once for a file, in a home of its own; for this processor, and for all that have AVX2 only, whose vectors are shorter."""
    if why := build.unfit():
        pytest.skip(why)
    flags = [flag.replace("march=native", f"march={request.param}") for flag in build.FLAGS]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("NLPHUB_HOME", str(tmp_path_factory.mktemp("compiled")))
        patch.setattr(build, "FLAGS", tuple(flags))
        build.library.cache_clear()
        assert native.available()
        yield
    build.library.cache_clear()
