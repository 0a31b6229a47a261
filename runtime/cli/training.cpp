#include "cli/training.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstring>
#include <nlohmann/json.hpp>
#include <utility>

#include "heddle/error.h"
#include "heddle/models/gpt.h"

namespace heddle::cli {
namespace {

using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

size_t index_of(const Graph& graph, const std::string& output) {
  const auto& outputs = graph.outputs();
  for (size_t i = 0; i < outputs.size(); ++i)
    if (outputs[i].name == output) return i;
  throw Error(ErrorCode::internal, "the training graph has no output '" + output + "'");
}

// How much of the simulated time the tensor engine was busy, over all partitions of a step; the names of the
// figures are those of the hardware's profiler.
std::optional<double> tensor_engine_percent(const std::vector<std::string>& reports) {
  double busy = 0, total = 0;
  for (const std::string& text : reports) {
    const nlohmann::json report = nlohmann::json::parse(text, nullptr, /*allow_exceptions=*/false);
    if (!report.is_object()) continue;
    const auto time = report.find("total_time"), percent = report.find("tensor_engine_active_time_percent");
    if (time == report.end() || !time->is_number() || percent == report.end() || !percent->is_number())
      continue;
    total += time->get<double>();
    busy += time->get<double>() * percent->get<double>();
  }
  return total > 0 ? std::optional(busy / total) : std::nullopt;
}

// Sums over a stretch of steps.
struct Meter {
  int64_t steps = 0;
  double wall_s = 0;
  uint64_t simulated_ps = 0;

  void add(double seconds, uint64_t picoseconds) {
    ++steps;
    wall_s += seconds;
    simulated_ps += picoseconds;
  }
  double wall_s_per_step() const { return steps > 0 ? wall_s / static_cast<double>(steps) : 0; }
  std::optional<double> simulated_us_per_step() const {
    if (steps == 0 || simulated_ps == 0) return std::nullopt;
    return static_cast<double>(simulated_ps) / 1e6 / static_cast<double>(steps);
  }
};

// The trained model, asked in rows of the training batch.
class Judge {
 public:
  Judge(const std::vector<Device>& devices, const SessionOptions& options, const TrainingSettings& settings,
        const Variables& variables)
      : rows_(settings.batch), context_(settings.context), vocabulary_(settings.model().vocabulary) {
    predict_.emplace(gpt_inference(settings.model(), settings.batch), devices, variables, options);
    if (settings.is_text())
      loss_.emplace(gpt_loss(settings.model(), settings.batch), devices, variables, options);
  }

  TrainedModel model() {
    TrainedModel model;
    model.rows = rows_;
    model.predict = [this](std::span<const int32_t> tokens) { return predict(tokens); };
    model.loss = [this](std::span<const int32_t> tokens, std::span<const int32_t> targets) {
      return loss(tokens, targets);
    };
    return model;
  }

 private:
  // [rows, context] with `values` first and `rest` in the rows that were not given.
  Tensor padded(std::span<const int32_t> values, int32_t rest) const {
    Tensor tensor(i32, {rows_, context_});
    const std::span<int32_t> all = tensor.values<int32_t>();
    std::copy(values.begin(), values.end(), all.begin());
    std::fill(all.begin() + std::ssize(values), all.end(), rest);
    return tensor;
  }

  std::vector<int32_t> predict(std::span<const int32_t> tokens) {
    const Tensor logits = predict_->run({{"tokens", padded(tokens, 0)}}).at("logits");
    const std::span<const float> values = logits.values<float>();
    std::vector<int32_t> next(tokens.size());
    for (size_t i = 0; i < next.size(); ++i) {
      const auto row = values.subspan(i * static_cast<size_t>(vocabulary_), static_cast<size_t>(vocabulary_));
      next[i] = static_cast<int32_t>(std::max_element(row.begin(), row.end()) - row.begin());
    }
    return next;
  }

  double loss(std::span<const int32_t> tokens, std::span<const int32_t> targets) {
    return loss_->run({{"tokens", padded(tokens, 0)}, {"targets", padded(targets, ignored_target)}})
        .at("loss")
        .at(0);
  }

  int64_t rows_, context_, vocabulary_;
  std::optional<Session> predict_, loss_;
};

DeviceState state_of(const std::string& device, int64_t step, const Variables& variables) {
  return {device, step, variables.read_all()};
}

}  // namespace

TrainingRun train_on(const std::vector<Device>& devices, Fallback fallback, const TrainingSettings& settings,
                     const Task& task, const DeviceState& state, int64_t steps, const TrainingHooks& hooks) {
  // A trace of every step would be larger than anyone can look at; the first step is not like the others.
  constexpr int64_t first_traced = 1, last_traced = 3;

  TrainingRun run;
  run.device = state.device;
  run.simulated = devices.front().clock() == heddle::Clock::simulated;
  run.first_step = state.step;

  const Graph graph = settings.training_step();
  Variables variables(static_cast<uint64_t>(settings.seed));
  if (state.step > 0) variables.write_all(state.variables);
  SessionOptions options;
  options.fallback = fallback;
  const Clock::time_point begin = Clock::now();
  Session session(graph, devices, variables, options);
  const Explanation plan = session.explain();
  run.memory = plan.memory;
  const bool computes =
      std::all_of(devices.begin(), devices.end(), [](const Device& device) { return device.computes(); });
  run.device_name = devices.front().spec();
  for (const Explanation::NodeRow& node : plan.nodes) ++run.nodes[node.device];
  run.compile_s = seconds_since(begin);

  std::vector<Tensor> inputs = {Tensor(i32, {settings.batch, settings.context}),
                                Tensor(i32, {settings.batch, settings.context})};
  if (settings.dropout > 0) inputs.push_back(Tensor(u64, {1}));
  std::vector<Tensor> outputs(graph.outputs().size());
  const size_t loss_index = index_of(graph, "loss");
  outputs[loss_index] = Tensor(f32, {});
  const std::span<int32_t> tokens = inputs[0].values<int32_t>(), targets = inputs[1].values<int32_t>();
  const auto tokens_per_step = static_cast<double>(settings.batch * settings.context);

  Meter total, since_row;
  const int64_t row_every = std::max<int64_t>(1, (steps - state.step + 9) / 10);
  int64_t step = state.step;
  for (; step < steps; ++step) {
    if (hooks.stop != nullptr && hooks.stop->load()) {
      run.stopped = true;
      break;
    }
    const int64_t nth = step - state.step;
    if (hooks.trace != nullptr) {
      const bool traced = nth <= last_traced && (nth >= first_traced || steps - state.step == 1);
      session.set_trace(traced ? hooks.trace : nullptr);
    }
    const Clock::time_point start = Clock::now();
    task.fill(step, tokens, targets);
    if (settings.dropout > 0) inputs[2].values<uint64_t>()[0] = static_cast<uint64_t>(step) << 32;
    session.run(inputs, outputs);
    const double seconds = seconds_since(start);
    const double loss = outputs[loss_index].at(0);
    if (computes) run.losses.push_back(loss);
    if (computes && !std::isfinite(loss)) {
      throw Error(ErrorCode::device, "the loss on '" + state.device + "' is " + std::to_string(loss) +
                                         " at step " + std::to_string(step + 1) +
                                         ": train with a lower --lr");
    }
    const uint64_t simulated_ps = session.last_run().simulated_ps;
    since_row.add(seconds, simulated_ps);
    if (nth > 0 || steps - state.step == 1) total.add(seconds, simulated_ps);
    if (hooks.progress) hooks.progress(step + 1, loss);
    if (hooks.row && (nth == 0 || (nth + 1) % row_every == 0 || step + 1 == steps)) {
      hooks.row({state.device, step + 1, loss, tokens_per_step / since_row.wall_s_per_step(),
                 since_row.simulated_us_per_step(), tensor_engine_percent(session.simulated_reports())});
      since_row = {};
    }
    if (hooks.save && hooks.save_every > 0 && (step + 1) % hooks.save_every == 0 && step + 1 < steps)
      hooks.save(state_of(state.device, step + 1, variables));
  }
  session.set_trace(nullptr);

  run.wall_s_per_step = total.wall_s_per_step();
  run.tokens_per_s = run.wall_s_per_step > 0 ? tokens_per_step / run.wall_s_per_step : 0;
  run.simulated_us_per_step = total.simulated_us_per_step();
  run.simulated_reports = session.simulated_reports();
  run.tensor_engine_percent = tensor_engine_percent(run.simulated_reports);
  run.state = state_of(state.device, step, variables);
  if (!run.stopped && computes) {
    options.freeze = true;
    Judge judge(devices, options, settings, variables);
    run.evaluation = task.evaluate(judge.model());
  }
  return run;
}

}  // namespace heddle::cli
