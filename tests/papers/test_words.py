"""Every word in backticks, every link, every "X in file" of a paper, or of a package docstring, names what is there."""

from __future__ import annotations

import pytest

from tests.papers.foreign import FOREIGN
from tests.papers.house import house
from tests.papers.judge import Judge

PAPERS = [str(paper.path) for paper in (*house().papers, *house().doors)]


@pytest.mark.parametrize("name", PAPERS)
def test_what_a_paper_names_is_there(name: str) -> None:
    complaints = Judge(house(), house().paper(name)).complaints()
    assert not complaints, "\n" + "\n".join(map(str, complaints))


def test_no_declared_exception_outlives_its_word() -> None:
    for name, words in FOREIGN.items():
        spans = {span.text for span in house().paper(name).spans}
        assert set(words) <= spans, f"{name} no longer says {sorted(set(words) - spans)}: take it out of foreign.py"
