// What train says in the end, the progress bar, settings in checkpoints.
#include <nlohmann/json.hpp>

#include "cli/progress.h"
#include "cli/train_report.h"
#include "cli/training_checkpoint.h"
#include "heddle/checkpoint.h"
#include "heddle/error.h"
#include "tests/expect_error.h"
#include "tests/temporary_folder.h"

using namespace heddle;
using namespace heddle::cli;
using heddle::test::ContainsSubstring;
using heddle::test::expect_error;

namespace {

TrainingRun run_of(const std::string& device, std::vector<double> losses) {
  TrainingRun run;
  run.device = device;
  run.losses = std::move(losses);
  run.wall_s_per_step = 0.01;
  run.evaluation.accuracy = 0.998;
  run.evaluation.examples = 1000;
  return run;
}

}  // namespace

TEST_CASE("the largest relative difference is over the first 50 steps", "[cli]") {
  CHECK_FALSE(max_relative_loss_difference({run_of("a", {1, 2})}).has_value());
  CHECK(max_relative_loss_difference({run_of("a", {2, 4}), run_of("b", {2, 4})}) == 0.0);
  CHECK(max_relative_loss_difference({run_of("a", {2, 4}), run_of("b", {2, 5})}).value() == Approx(0.25));
  CHECK(
      max_relative_loss_difference({run_of("a", {2, 4}), run_of("b", {2, 4}), run_of("c", {1, 4})}).value() ==
      Approx(0.5));
  std::vector<double> losses(51, 1.0), other = losses;
  other[50] = 2;
  CHECK(max_relative_loss_difference({run_of("a", losses), run_of("b", other)}) == 0.0);
  other[49] = 1.5;
  CHECK(max_relative_loss_difference({run_of("a", losses), run_of("b", other)}).value() == Approx(0.5));
  TrainingRun later = run_of("b", losses);
  later.first_step = 10;
  CHECK_FALSE(max_relative_loss_difference({run_of("a", losses), later}).has_value());
}

TEST_CASE("the verdict says whether devices agree", "[cli]") {
  const TrainingSettings settings = default_settings(false, "adamw");
  const std::string agree = verdict(settings, {run_of("cpu", {1.0}), run_of("trn1", {1.00001})});
  CHECK_THAT(agree, ContainsSubstring("cpu and trn1 trained the same graph"));
  CHECK_THAT(agree, ContainsSubstring("99.8 %"));
  CHECK_THAT(verdict(settings, {run_of("cpu", {1.0}), run_of("trn1", {1.1})}),
             ContainsSubstring("do not agree"));
  TrainingRun simulated = run_of("trn1", {1.0});
  simulated.simulated_us_per_step = 812;
  simulated.tensor_engine_percent = 12.34;
  const std::string text = verdict(settings, {simulated});
  CHECK_THAT(text, ContainsSubstring(
                       "10.0 ms of wall-clock time on trn1, whose simulated clock says 812 us with the "
                       "tensor engine busy for 12.3 % of that"));
}

TEST_CASE("the bar fits the terminal and estimates what is left", "[cli]") {
  CHECK(progress_line("cpu", 5, 10, "loss 1.2", 3, 200) ==
        "[############            ] 50 %  cpu 5/10  loss 1.2  ~3 s left");
  CHECK(progress_line("cpu", 0, 10, "", 3, 200) == "[                        ] 0 %  cpu 0/10");
  CHECK(progress_line("cpu", 10, 10, "", 3, 200) == "[########################] 100 %  cpu 10/10");
  CHECK(progress_line("cpu", 1, 1000, "", 60, 200) ==
        "[                        ] 0 %  cpu 1/1000  ~16 h 39 min left");
  CHECK(progress_line("cpu", 5, 10, "loss 1.2", 3, 20).size() == 19);
  CHECK(progress_line("cpu", 0, 0, "", 0, 0).empty());
}

TEST_CASE("settings come back from metadata exactly", "[cli]") {
  TrainingSettings settings = default_settings(true, "adam");
  settings.text = "a file";
  settings.lr = 0.1 + 0.2;
  settings.seed = 123456789012345;
  settings.dropout = 1.0 / 3;
  const auto metadata = to_metadata(settings);
  CHECK(to_metadata(from_metadata(metadata)) == metadata);
  CHECK(from_metadata(metadata).lr == settings.lr);
  for (const auto& [name, value] : metadata) {
    auto incomplete = metadata;
    incomplete.erase(name);
    expect_error(ErrorCode::corrupt, "'" + name + "'", [&] { from_metadata(incomplete); });
  }
  auto wrong = metadata;
  wrong["batch"] = "12x";
  expect_error(ErrorCode::corrupt, "no number as 'batch'", [&] { from_metadata(wrong); });
}

TEST_CASE("damaged metadata is no checkpoint", "[cli]") {
  const test::TemporaryFolder folder;
  const std::string file = folder / "c";
  const TrainingSettings settings = default_settings(false, "adamw");
  save_training(file, {settings, {{"cpu", 3, {{"w", Tensor::scalar(1)}}}, {"trn1", 0, {}}}});
  const Checkpoint good = load_checkpoint(file);
  const TrainingCheckpoint loaded = load_training(file);
  REQUIRE(loaded.states.size() == 2);
  CHECK(loaded.states[0].step == 3);
  CHECK(loaded.states[0].variables.at("w").at(0) == 1);
  CHECK(loaded.states[1].device == "trn1");

  const auto refuses = [&](const std::string& key, const std::string& value, const std::string& why) {
    Checkpoint bad = good;
    bad.metadata[key] = value;
    save_checkpoint(file, bad);
    expect_error(ErrorCode::corrupt, why, [&] { load_training(file); });
  };
  refuses("format", "other", "does not say 'heddle train 1'");
  refuses("batch", "0", "--batch must be 1 to");
  refuses("width", "1e9", "no number as 'width'");
  refuses("devices", "", "list of devices");
  refuses("devices", "[]", "list of devices");
  refuses("devices", "[{}]", "list of devices");
  refuses("devices", R"([{"device":"cpu","step":-1}])", "list of devices");
  refuses("devices", R"([{"device":"cpu","step":1},{"device":"cpu","step":1}])", "list of devices");
  refuses("devices", R"([{"device":"cpu","step":1},{"device":"b","step":1}])",
          "'b' is at step 1 with 0 variables");
  refuses("devices", R"([{"device":"b","step":0},{"device":"c","step":0}])", "belongs to no device");
}
