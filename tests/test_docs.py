"""Every code block of the documentation is run, or parsed, or says that it is external.

The word after a block's language decides: `run` (Python, in its own process), `file NAME` (Python, imported
from a file), `parsed` (shell: the options of our commands are checked, nothing is started), `external`.
"""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from dglib import cli

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
BLOCK = re.compile(r"^```(\w*) ?([^\n]*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
BLOCKS = [
    (f"{page.name}-{number}", language, mark, text)
    for page in PAGES
    for number, (language, mark, text) in enumerate(BLOCK.findall(page.read_text(encoding="utf-8")), 1)
]
OURS = {"python -m dglib ": "dglib", "python run_all.py": "run_all"}


def marked(wanted):
    return [pytest.param(text, id=name) for name, _, mark, text in BLOCKS if mark.split(" ")[0] == wanted]


def test_every_block_says_how_it_is_tested():
    unmarked = [name for name, language, mark, _ in BLOCKS if language and not mark]
    assert unmarked == []
    external = [f"{name}: {text.splitlines()[0]}" for name, _, mark, text in BLOCKS if mark == "external"]
    print("not run:", *external, sep="\n")


USE = """
import shown
from dglib.experiments import get, names
from dglib.experiments.figures import draw_all
evaluations = [{"phase": "up", "lambda": 0.3, "epoch": 1, "error": 0.1}]
record = {"seed": 0, "outcome": "complete", "up_trajectory": evaluations, "down_trajectory": evaluations}
for name in (name for name in names() if get(name).is_own):
    assert get(name).answer([record]).rows
    assert draw_all(name, [record])
"""


@pytest.mark.parametrize("text", [*marked("run"), *marked("file")])
def test_python_blocks_can_be_imported_and_their_experiments_answer(text, tmp_path):
    (tmp_path / "shown.py").write_text(text, encoding="utf-8")
    command = [sys.executable, "-c", USE]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("text", marked("parsed"))
def test_commands_take_the_options_that_are_shown(text, tmp_path, monkeypatch):
    checked = 0
    for line in text.splitlines():
        command = re.sub(r"^\w+=\S+ ", "", line)  # without a variable in front of it
        program = next((OURS[start] for start in OURS if command.startswith(start)), None)
        if program is None:
            continue
        words = shlex.split(command, comments=True)[3 if program == "dglib" else 2 :]
        if program == "run_all" and words[:1] not in (["status"], ["report"]):
            words = ["campaign", *words]
        cli.parser(program).parse_args(words)
        checked += 1
    assert checked
