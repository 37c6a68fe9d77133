"""The benchmark: it refuses to time unequal sides, alternates fairly, and its table holds."""

import json
import time

import numpy as np
import pytest

from tinysmooth import plots
from tinysmooth.__main__ import main
from tinysmooth.bench import driver, limits, networks, processes, rivals, steps, training
from tinysmooth.bench.timing import alternate, check_equal


def test_sides_take_turns_and_the_median_is_theirs():
    order = []
    times = alternate(
        {"slow": lambda: (order.append("s"), time.sleep(0.02)), "fast": lambda: order.append("f")},
        rounds=3,
        block=0.0,
        least_calls=2,
        warm_up=0.0,
    )
    assert "".join(order) == "sf" + "sssfff" * 3
    assert times["slow"].calls == 6
    assert times["slow"].median > times["fast"].median
    assert times["slow"].lower <= times["slow"].median <= times["slow"].upper


def test_unequal_sides_are_not_timed():
    assert check_equal("same", np.ones(3), np.ones(3) + 1e-9, 1e-6) == pytest.approx(1e-9)
    with pytest.raises(AssertionError, match="loss: the sides differ by 0.5"):
        check_equal("loss", np.ones(1), np.full(1, 2.0), 1e-3)
    with pytest.raises(AssertionError, match="shapes"):
        check_equal("loss", np.ones(1), np.ones(2), 1e-3)
    with pytest.raises(AssertionError):
        check_equal("loss", np.array([np.nan]), np.ones(1), 1e-3)


@pytest.mark.parametrize("name", ["small_convnet", "resnet9"])
def test_sixteen_training_steps_give_pytorchs_loss_curve(name):
    torch = pytest.importorskip("torch")
    ours, theirs = steps.loss_curves(torch, name)
    np.testing.assert_allclose(ours, theirs, rtol=1e-3)
    assert ours[-1] < ours[0]


def test_step_rows_without_pytorch_report_ours_alone():
    rows = steps.step_rows(None, batch_size=4, size=16)
    assert [row["name"] for row in rows] == ["small_convnet step", "resnet9 step"]
    assert all(row["ours_ms"] > 0 and row["ratio"] is None for row in rows)


@pytest.mark.parametrize("network", networks.NETWORKS, ids=lambda network: network[0])
def test_networks_of_others_learn_and_have_pytorchs_loss_curve(network):
    torch = pytest.importorskip("torch")
    _, make, shape = network
    ours, theirs = steps._curves(torch, make, steps._batch((8, *shape[1:])), 8)
    np.testing.assert_allclose(ours, theirs, rtol=1e-3)
    assert ours[-1] < ours[0]


def test_a_row_for_each_network_of_others(monkeypatch):
    smallest = min(networks.NETWORKS, key=lambda network: np.prod(network[2]))
    monkeypatch.setattr(networks, "NETWORKS", (smallest,))
    (row,) = networks.network_rows(None)
    assert (row["name"], row["shape"]) == (f"{smallest[0]} step", " x ".join(map(str, smallest[2])))
    assert row["ours_ms"] > 0 and row["ratio"] is None


def test_both_sides_of_a_training_are_served_alike_and_learn_alike():
    torch = pytest.importorskip("torch")
    options = {"data": "drawn", "per_class": 3, "val_per_class": 20, "size": 48, "epochs": 2}
    reached, ended = training.training_rows(torch, **options)
    assert ended["ratio"] == pytest.approx(ended["ours_s"] / ended["torch_s"])
    # Two steps from the same weights: rounding may turn one image of the 200, not more.
    assert ended["ours_accuracy"] == pytest.approx(ended["torch_accuracy"], abs=0.006)
    _, alone = training.training_rows(None, **options)
    assert alone["ours_accuracy"] == ended["ours_accuracy"] and alone["ratio"] is None


def test_the_time_to_an_accuracy_ends_with_the_first_epoch_that_has_it(monkeypatch):
    curves = {
        "ours": [(1.0, 0.5), (2.0, 0.7), (3.0, 0.9), (4.0, 0.8)],
        "torch": [(2.5, 0.6), (5.0, 0.7), (7.5, 0.6), (10.0, 0.6)],
    }
    monkeypatch.setattr(training, "_race", lambda *args: curves)
    options = {"data": "drawn", "per_class": 1, "val_per_class": 1, "size": 48}
    reached, ended = training.training_rows(None, **options)
    assert reached["name"].endswith("to 70.0%")
    assert (reached["ours_s"], reached["torch_s"], reached["ratio"]) == (2.0, 5.0, 0.4)
    assert (ended["ours_s"], ended["torch_s"], ended["ratio"]) == (4.0, 10.0, 0.4)
    assert (ended["ours_accuracy"], ended["torch_accuracy"]) == (0.8, 0.6)


def test_a_training_follows_the_recipe_of_a_preset(monkeypatch):
    seen = []

    class Served(training.EpochBatches):
        def epoch(self, epoch, skip=0):
            for batch in super().epoch(epoch, skip):
                seen.append(batch[0].shape)
                yield batch

    monkeypatch.setattr(training, "EpochBatches", Served)
    sizes = {"start_size": 16, "end_size": 24, "size_step": 4, "size": 32}
    few = {"data": "drawn", "per_class": 7, "val_per_class": 2, "epochs": 4}
    rows = training.training_rows(None, preset="tiny", **sizes, **few)
    assert {row["shape"] for row in rows} == {"70 images, 4 epochs"}
    sides = (16, 16, 20, 24)
    assert seen == [(count, 3, side, side) for side in sides for count in (64, 6)]


def test_the_small_network_is_the_same_in_every_library_that_is_installed():
    rows = rivals.rival_rows(None, batch_size=2, size=8)
    assert rows[0]["name"] == "tinysmooth"
    assert rows[0]["times_ours"] == pytest.approx(1.0)


def test_hardware_limits_are_positive(monkeypatch):
    for name, small in (("MATRIX", 64), ("STREAM", 1 << 12), ("REPEATS", 1000)):
        monkeypatch.setattr(limits, name, small)
    rows = limits.limit_rows()
    assert {row["unit"] for row in rows} == {"GFLOP/s", "GB/s"}
    assert all(row["value"] > 0 for row in rows)


def test_rates_are_held_against_the_limits_of_the_same_run(monkeypatch):
    parts = {
        "limits": [
            {"name": "peak", "unit": "GFLOP/s", "value": 200.0},
            {"name": "matmul", "unit": "GFLOP/s", "value": 150.0},
            {"name": "copy", "unit": "GB/s", "value": 20.0},
        ],
        "convolution": [{"name": "a", "gflop_per_s": 300.0}],
        "layers": [{"name": "b", "gb_per_s": 15.0}],
        "loss": [{"name": "c"}],
    }
    for name, rows in parts.items():
        part = (name, lambda torch, wishes, rows=rows: [dict(row) for row in rows])
        monkeypatch.setitem(driver.PARTS, name, part)
    announced = []
    found = dict(driver.run_parts(["loss", "layers", "convolution"], announce=announced.append))
    assert announced == list(found) == ["limits", "loss", "layers", "convolution"]
    assert found["convolution"][0]["of_limit"] == 1.5
    assert found["layers"][0]["of_limit"] == 0.75
    assert "of_limit" not in found["loss"][0]
    assert list(dict(driver.run_parts(["loss"]))) == ["loss"]
    assert "150%" in driver.format_rows(found["convolution"])


def test_a_failing_process_is_reported():
    with pytest.raises(RuntimeError, match="ZeroDivisionError"):
        processes._run("1 / 0", 0, {})


def test_a_table_has_the_columns_that_any_row_has():
    rows = [{"name": "a", "ours_ms": 1.5, "ratio": None}, {"name": "bc", "ours_ms": 20.0}]
    assert driver.format_rows(rows) == "name  ours ms\na         1.5\nbc         20"


def test_the_picture_shows_every_ratio():
    parts = {"x": [{"name": "a", "ratio": 0.5}, {"name": "b"}], "y": [{"name": "c", "ratio": 2.0}]}
    axis = plots.benchmark_ratios(parts).axes[0]
    assert [bar.get_width() for bar in axis.patches] == [0.5, 2.0]
    assert [label.get_text() for label in axis.get_yticklabels()] == ["a", "c"]
    with pytest.raises(ValueError, match="no ratio"):
        plots.benchmark_ratios({"x": [{"name": "b"}]})


def test_the_command_writes_its_table_and_numbers(tmp_path, capsys, monkeypatch):
    part = ("something", lambda torch, compile: [{"name": "a", "ratio": 0.5, "ours_ms": 1.0}])
    monkeypatch.setitem(driver.PARTS, "loss", part)
    assert main(["bench", "loss", "--no-torch", "--out", str(tmp_path / "b")]) == 0
    content = json.loads((tmp_path / "b" / "bench.json").read_text())
    assert content["parts"]["loss"][0]["ratio"] == 0.5
    assert content["machine"]["threads"] >= 1
    assert (tmp_path / "b" / "bench.png").stat().st_size > 1000
    assert "something" in capsys.readouterr().out


@pytest.mark.parametrize("place", ["file", "file/x", "file/x/y"])
def test_a_place_for_the_results_that_cannot_be_made_is_refused_before_any_work(
    tmp_path, capsys, monkeypatch, place
):
    def measure(torch, compile):
        raise AssertionError("measured in vain")

    monkeypatch.setitem(driver.PARTS, "loss", ("something", measure))
    (tmp_path / "file").write_text("mine")
    with pytest.raises(SystemExit) as caught:
        main(["bench", "loss", "--no-torch", "--out", str(tmp_path / place)])
    assert caught.value.code == 2
    assert f"--out is {tmp_path / place}, " in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [(["nonsense"], "'nonsense'; expected some of limits"), (["--threads", "0"], "--threads: 0")],
)
def test_wrong_usage_fails_before_any_work(arguments, message, capsys):
    with pytest.raises(SystemExit) as caught:
        main(["bench", *arguments])
    assert caught.value.code == 2
    assert message in capsys.readouterr().err
