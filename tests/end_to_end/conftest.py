from collections.abc import Iterator

import pytest

from tests.end_to_end.browser import Browsers


@pytest.fixture(scope="session")
def browsers() -> Iterator[Browsers]:
    found = Browsers()
    yield found
    found.close()
