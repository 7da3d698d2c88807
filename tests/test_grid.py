"""Grid files: what is crossed, where it runs, and mistakes reported before anything is written."""

from itertools import product

import pytest

from dglib.campaign.grid import load_grid
from dglib.campaign.jobs import anchored
from dglib.errors import UserError
from dglib.experiments.profiles import PARAMS, Layer, load_profile, override_layer

GRIDS = sorted((PARAMS / "grids").glob("*.yaml"))
MAP = """
experiment: Td1
seeds: 0-1
set: {init_epochs: 8, milestones: [4, 6]}
grid:
  noise_rate: [0.2, 0.4]
  init_lambda: [0.35, 0.5, 6.5e-1]
"""


def written(directory, text, name="map.yaml"):
    path = directory / name
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize("path", GRIDS, ids=lambda path: path.stem)
def test_every_grid_of_the_project_loads_by_its_name_and_has_a_directory_per_combination(path):
    grid = load_grid(path.stem)
    combinations = {repr(cell.values) for cell in grid.plans}
    assert len({cell.base.name for cell in grid.plans}) == len(combinations)
    assert len(grid.plans) == len(combinations) * len({cell.experiment for cell in grid.plans})
    assert path.read_text(encoding="utf-8").startswith("# ")


def test_every_value_of_one_parameter_meets_every_value_of_the_other_over_the_profile(tmp_path):
    grid = load_grid(written(tmp_path, MAP))
    changes = ["seeds=0-1", "init_epochs=8", "milestones=[4, 6]", "noise_rate=0.2", "init_lambda=0.35"]
    expected = anchored(load_profile("Td1", "quick", changes), grid.plans[0].base.absolute())
    assert grid.plans[0].parameters.model_copy(update={"work_dir": None}) == expected
    asked = [(cell.parameters.noise_rate, cell.parameters.init_lambda) for cell in grid.plans]
    assert asked == list(product([0.2, 0.4], [0.35, 0.5, 0.65]))
    assert grid.axes == {"noise_rate": (0.2, 0.4), "init_lambda": (0.35, 0.5, 0.65)}
    assert (grid.name, grid.directory.name) == ("map", "grid_map")
    assert (grid.plans[4].cell, grid.plans[4].base.name) == (("noise_rate=0.4,init_lambda=0.5",) * 2)


def test_options_replace_what_the_file_sets_for_all_experiments_or_for_one(tmp_path):
    path = written(tmp_path, "experiments: [T1, T2]\nset: {T2.lr: 0.3}\ngrid: {epochs_per_level: [2, 4]}\n")
    layers = [Layer("--seeds", {"seeds": "3"}), override_layer("T1.momentum=0.5"), override_layer("lr=0.2")]
    cells = load_grid(path, layers).plans
    assert [cell.base.name for cell in cells] == [f"epochs_per_level={n}" for n in (2, 2, 4, 4)]
    found = [(c.experiment, c.parameters.seeds, c.parameters.momentum, c.parameters.lr) for c in cells[:2]]
    assert found == [("T1", [3], 0.5, 0.2), ("T2", [3], 0.9, 0.2)]
    assert [cell.parameters.lr for cell in load_grid(path).plans[:2]] == [0.1, 0.3]


def test_a_parameter_that_is_a_list_is_crossed_by_a_list_of_lists(tmp_path):
    text = "experiment: T2\ngrid: {sweep_lambdas: [[0.5, 0.4], [0.5, 0.3]], network: [small_cnn, my:Net]}\n"
    grid = load_grid(written(tmp_path, text))
    assert [cell.parameters.sweep_lambdas for cell in grid.plans[::2]] == [[0.5, 0.4], [0.5, 0.3]]
    assert grid.plans[0].cell == "sweep_lambdas=[0.5,0.4],network=small_cnn"
    assert len({cell.base.name for cell in grid.plans}) == 4
    for cell in grid.plans:
        assert not set(cell.base.name) - set("abcdefghijklmnopqrstuvwxyz0123456789_.,=+-")


def test_names_that_differ_in_case_alone_and_long_ones_keep_directories_of_their_own(tmp_path):
    names = ["my:Net", "my:net", "my:" + "n" * 300, "my:" + "n" * 299 + "m"]
    grid = load_grid(written(tmp_path, f"experiment: Td1\ngrid: {{network: {names}}}\n".replace("'", '"')))
    directories = {cell.base.name.casefold() for cell in grid.plans}
    assert len(directories) == 4
    assert max(map(len, directories)) < 100


MISTAKES = {
    "grd: {lr: [1]}": "grd = .*: must be experiment, experiments, profile, seeds, set or grid",
    "experiment: Td1\ngrid: {noise_rat: [0.2]}": "noise_rat = .*: Td1 has no such .*mean noise_rate?",
    "experiment: Td1\ngrid: {lr: 0.1}": "grid.lr = 0.1: must be a list",
    "experiment: Td1\ngrid: {lr: [0.1, 1e-1]}": "grid: lr=0.1 is the same run as lr=0.1",
    "experiment: T1\ngrid: {init_lambda: [0.3, 0.5]}": "must start at init_lambda = 0.5 or above",
    "experiment: Td1\nset: {lr: 0.1}\ngrid: {lr: [0.2]}": "lr = 0.1: is crossed by the grid of",
    "experiment: V3\ngrid: {gap_lambda: [0.4, 0.5]}": "grid.gap_lambda = .*: changes no run",
    f"experiment: Td1\ngrid: {{batch_size: {[*range(1001)]}}}": "= 1001 cells: must be at most 1000",
    "experiment: X\ngrid: {lr: [1]}": "experiment = 'X': must be T1, T2, Hold, V3, Td1 or loop",
    "experiments: [T1, T1]\ngrid: {lr: [1]}": "each once",
    "experiment: Td1\nprofile: fast\ngrid: {lr: [1]}": "profile = 'fast': must be quick, paper or small",
    # Without a way back its levels decide nothing.
    "experiment: T1\nset: {return_sweep: false}\ngrid: {return_lambdas: [[0.3, 0.2], [0.3, 0.1]]}": (
        r"return_lambdas=\[0.3,0.1\] is the same run as return_lambdas=\[0.3,0.2\]"
    ),
}


@pytest.mark.parametrize(("text", "line"), MISTAKES.items(), ids=range(len(MISTAKES)))
def test_a_mistake_is_reported_in_one_line_that_names_file_value_and_rule(tmp_path, text, line):
    with pytest.raises(UserError, match=line) as caught:
        load_grid(written(tmp_path, text))
    assert "\n" not in str(caught.value)
    assert "map.yaml" in str(caught.value)
    assert [path.name for path in tmp_path.iterdir()] == ["map.yaml"]


def test_an_option_for_a_crossed_parameter_and_an_unknown_name_are_refused(tmp_path):
    layer = Layer("--set noise_rate=0.3", {"noise_rate": 0.3})
    with pytest.raises(UserError, match=r"^--set noise_rate=0.3: noise_rate = 0.3: is crossed by the grid"):
        load_grid(written(tmp_path, MAP), [layer])
    with pytest.raises(UserError, match=r"grid = 'phase': must be dwell_age, .*staleness or a path"):
        load_grid("phase")
