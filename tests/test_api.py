"""`dglib.run`: parameters that only say how records are read."""

from pathlib import Path

from by_name import MODELS, summarise

from dglib import api
from dglib.experiments.profiles import load_profile
from dglib.runs.identity import READING

V3 = [
    "network=small_cnn",
    "network_width=0.25",
    "seeds=0",
    "ordered_epochs=1",
    "ordered_error_max=1",
    "ordered_milestones=[]",
    "collapse_epochs=1",
    "collapse_error_min=0",
    "collapse_milestones=[]",
    "sweep_lambdas=[0.3,0.5]",
    "epochs_per_level=1",
]
TD1 = [
    "network_width=0.25",
    "seeds=0",
    "init_epochs=3",
    "milestones=[]",
    "evaluate_every=1",
]


def test_every_reading_parameter_belongs_to_an_experiment() -> None:
    assert {name for model in MODELS.values() for name in model.model_fields} >= READING


def test_the_gap_is_read_where_and_as_it_is_asked_also_from_finished_seeds(tmp_path: Path) -> None:
    def answer(*changes: str) -> str:
        run = api.run(load_profile("V3", "quick", [*V3, f"base_dir={tmp_path}", *changes]))
        return run.answer()

    assert answer().startswith("V3: the gap at λ = 0.50 ")
    assert "against a limit of 0.10" in answer()
    asked = answer("gap_lambda=0.3", "gap_error=0.95")
    assert asked.startswith("V3: the gap at λ = 0.30 ")
    assert "against a limit of 0.95" in asked
    assert len(list(tmp_path.glob("exp_V3_*"))) == 1


def test_the_comparison_of_td1_is_made_at_the_epochs_asked_for(tmp_path: Path) -> None:
    def comparison(*changes: str) -> list[str]:
        run = api.run(load_profile("Td1", "quick", [*TD1, f"base_dir={tmp_path}", *changes]))
        return list(summarise("Td1", run.records)["comparison"])

    assert comparison("compare_epochs=[0,2]") == ["0", "2"]
    assert comparison("compare_epochs=[1]") == ["1"]
    assert len(list(tmp_path.glob("exp_Td1_*"))) == 1
