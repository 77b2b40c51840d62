"""Two draws of the toy problem."""

import pytest
from toys import Toy, make


@pytest.fixture
def toy() -> Toy:
    return make(1)


@pytest.fixture
def unseen() -> Toy:
    return make(2)
